//! The builder of a worker.

use amqp_client::Received;

use crate::{
    consume::{
        settle::{on_failure::OnFailure, on_undecodable::OnUndecodable},
        subscription::{Subscription, subscription_setters},
    },
    error::Malformed,
    serialize::{BoxError, Serializers},
};

/// The settings of a worker that is about to start. [`Transport::worker`](crate::Transport::worker)
/// makes it.
#[derive(Clone)]
pub struct WorkerBuilder {
    pub(super) subscription: Subscription,
    pub(super) serializers: Serializers,
    pub(super) concurrency: u16,
    pub(super) on_failure: OnFailure,
    pub(super) on_undecodable: Option<OnUndecodable>,
}

subscription_setters!(WorkerBuilder);

impl WorkerBuilder {
    pub(crate) fn new(subscription: Subscription) -> Self {
        WorkerBuilder {
            subscription,
            serializers: Serializers::new(),
            concurrency: 1,
            on_failure: OnFailure::default(),
            on_undecodable: None,
        }
    }

    /// Sets how many messages are handled at once, at least 1; the broker sends no more in advance.
    /// Default 1.
    #[must_use]
    pub fn concurrency(mut self, handlers: u16) -> Self {
        self.concurrency = handlers.max(1);
        self
    }

    /// Sets what happens to a message whose handler failed. Default: it is rejected.
    #[must_use]
    pub fn on_failure(mut self, policy: OnFailure) -> Self {
        self.on_failure = policy;
        self
    }

    /// Sets the handler for messages that cannot be decoded. When `handler` succeeds the message is
    /// acknowledged; when it fails or panics, and by default, the message is set aside like one
    /// whose retries are used up. The handler runs in the message's span and trace, as handlers do.
    #[must_use]
    pub fn on_undecodable<H, Fut, E>(mut self, handler: H) -> Self
    where
        H: Fn(Received, Malformed) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<BoxError>,
    {
        self.on_undecodable = Some(OnUndecodable::new(handler));
        self
    }

    /// Sets the largest body that is accepted, in bytes. A message with a larger body comes without
    /// it: [`on_undecodable`](Self::on_undecodable) is called with [`Malformed::Withheld`], and its
    /// success acknowledges the message. Otherwise the message is rejected if the queue is declared
    /// with a dead-letter exchange, which gets it whole. If not, it is kept unacknowledged, like a
    /// message that cannot be [set aside](crate::RetryLater): without its body it cannot be
    /// published elsewhere. Default: [that of the
    /// transport](crate::TransportOptions::max_message_size).
    #[must_use]
    pub fn max_message_size(mut self, bytes: u64) -> Self {
        self.subscription = self.subscription.max_message_size(bytes);
        self
    }
}
