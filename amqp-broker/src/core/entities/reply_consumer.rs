//! The consumer of a channel's direct replies.

use amqp_codec::ShortString;

/// The consumer of a channel's direct replies.
#[derive(Clone, Debug)]
pub(crate) struct ReplyConsumer {
    pub(crate) tag: ShortString,
    /// The name that its requests carry as `reply-to`.
    pub(crate) name: ShortString,
}
