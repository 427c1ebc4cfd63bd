//! An operation that goes on in later turns. Until it is done, nothing more of its connection is
//! looked at.

use amqp_codec::{MethodId, ShortString};
use bytes::Bytes;

use crate::core::work::Work;

use super::incoming::Flags;

/// An operation that goes on in later turns, and what is said when it is done.
#[derive(Debug)]
pub(crate) struct Paused {
    /// The channel's number.
    pub(super) number: u16,
    /// The method that asked for it.
    pub(super) method: MethodId,
    pub(super) work: Work,
    pub(super) then: Then,
}

/// What is said when an operation is done.
#[derive(Debug)]
pub(super) enum Then {
    /// An answer, encoded, or nothing.
    Say(Option<Bytes>),
    /// An answer, and then that consumers of the channel have ended with what it deleted: a channel
    /// that consumed from what it deletes is told of the deletion first, as RabbitMQ does, and
    /// clients that read no further than an answer count on it.
    SayDeleted(Option<Bytes>, Vec<ShortString>),
    /// What became of a publish.
    Publish(Flags),
    /// Nothing: the message is kept until the transaction is committed.
    Prepare(Flags),
    /// What became of the transaction.
    Commit,
    /// The end of the connection.
    Close,
}

impl Paused {
    /// What is left to be done, whoever waits for it.
    pub(crate) fn into_work(self) -> Work {
        self.work
    }
}
