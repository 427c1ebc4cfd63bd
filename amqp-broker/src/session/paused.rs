//! An operation that continues in later turns. Until it is done, no other input of its connection
//! is processed.

use amqp_codec::{MethodId, ShortString};
use bytes::Bytes;

use crate::core::work::Work;

use super::incoming::PublishFlags;

/// An operation that continues in later turns, and its answer.
#[derive(Debug)]
pub(crate) struct Paused {
    /// The channel's number.
    pub(super) number: u16,
    /// The method that requested it.
    pub(super) method: MethodId,
    pub(super) work: Work,
    pub(super) then: Then,
}

/// What happens when an operation is done.
#[derive(Debug)]
pub(super) enum Then {
    /// The answer, already encoded, is sent, if there is one.
    Say(Option<Bytes>),
    /// The answer is sent, and then the cancels of the channel's own consumers on the deleted
    /// queue. RabbitMQ keeps this order, and some clients stop reading at the answer.
    SayDeleted(Option<Bytes>, Vec<ShortString>),
    /// A publish is confirmed or returned.
    Publish(PublishFlags),
    /// The message is kept until the transaction is committed; nothing is sent.
    Prepare(PublishFlags),
    /// The commit is answered.
    Commit,
    /// The close of the connection is answered.
    Close,
}

impl Paused {
    /// The remaining work, without its answer.
    pub(crate) fn into_work(self) -> Work {
        self.work
    }
}
