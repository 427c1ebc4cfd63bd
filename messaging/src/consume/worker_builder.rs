//! A worker that is about to start.

use amqp_client::Received;

use crate::{
    consume::{
        settle::{on_failure::OnFailure, on_undecodable::OnUndecodable},
        subscription::{Subscription, subscription_setters},
    },
    error::Malformed,
    serialize::{BoxError, Serializers},
};

/// A worker about to start. Made by [`Transport::worker`](crate::Transport::worker).
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

    /// How many messages are handled at once, at least 1; the broker sends no more ahead. Default
    /// 1.
    #[must_use]
    pub fn concurrency(mut self, handlers: u16) -> Self {
        self.concurrency = handlers.max(1);
        self
    }

    /// What becomes of a message whose handler failed. Default: it is rejected.
    #[must_use]
    pub fn on_failure(mut self, policy: OnFailure) -> Self {
        self.on_failure = policy;
        self
    }

    /// What is done with a message that cannot be decoded. When `handler` succeeds the message is
    /// acknowledged; when it fails or panics, and by default, the message is set aside as one that
    /// has failed often enough. The handler runs in the message's span and trace, as handlers do.
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

    /// The largest body that is taken, in bytes. A message with a larger one comes without it:
    /// [`on_undecodable`](Self::on_undecodable) is called with [`Malformed::Withheld`], and its
    /// success acknowledges the message. Otherwise it is rejected where the queue is declared with
    /// a dead letter exchange, which gets it whole, and kept unacknowledged where not, as what
    /// cannot be [set aside](crate::RetryLater): without its body it cannot be published elsewhere.
    /// Default: [that of the transport](crate::TransportOptions::max_message_size).
    #[must_use]
    pub fn max_message_size(mut self, bytes: u64) -> Self {
        self.subscription = self.subscription.max_message_size(bytes);
        self
    }
}
