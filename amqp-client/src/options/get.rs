//! How to take one message.

/// How [`Channel::get`](crate::Channel::get) takes a message. Default: with acknowledgement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GetOptions {
    pub(crate) no_ack: bool,
}

impl GetOptions {
    /// With acknowledgement.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether the broker takes the message as acknowledged when it sends it. Default: it does not,
    /// and the [`Delivery`](crate::Delivery) is to be acked.
    pub fn no_ack(mut self, no_ack: bool) -> Self {
        self.no_ack = no_ack;
        self
    }
}
