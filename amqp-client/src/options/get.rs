//! The options of [`Channel::get`](crate::Channel::get).

/// How [`Channel::get`](crate::Channel::get) fetches a message. Default: with acknowledgement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GetOptions {
    pub(crate) no_ack: bool,
}

impl GetOptions {
    /// Makes options with acknowledgement.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets whether the broker treats the message as acknowledged when it sends it. Default: it
    /// does not, and the [`Delivery`](crate::Delivery) has to be acked.
    pub fn no_ack(mut self, no_ack: bool) -> Self {
        self.no_ack = no_ack;
        self
    }
}
