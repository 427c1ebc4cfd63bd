//! Where a service takes its messages from, and how it goes on there.

use amqp_client::{Delivery, StreamOffset};
use amqp_codec::Value;

use crate::{
    consumer::{RawConsumer, Subscription},
    error::Error,
};

/// The header in which RabbitMQ tells the place of a message in its stream.
const OFFSET: &str = "x-stream-offset";

/// A subscription that is started again and again.
pub(crate) struct Source {
    subscription: Subscription,
    is_stream: bool,
    /// The place after the last message, in a stream of which there was one.
    next: Option<u64>,
}

impl From<Subscription> for Source {
    fn from(subscription: Subscription) -> Self {
        Source { subscription, is_stream: false, next: None }
    }
}

impl Source {
    /// A stream: where it was left it is gone on with.
    pub(crate) fn stream(subscription: Subscription) -> Self {
        Source { is_stream: true, ..Source::from(subscription) }
    }

    pub(crate) fn queue_name(&self) -> &str {
        self.subscription.queue_name()
    }

    pub(crate) async fn start(&self) -> Result<RawConsumer, Error> {
        match self.next {
            None => self.subscription.start_raw().await,
            Some(next) => self.subscription.start_raw_at(StreamOffset::Offset(next)).await,
        }
    }

    /// Notes how far it was read.
    pub(crate) fn read(&mut self, delivery: &Delivery) {
        if !self.is_stream {
            return;
        }
        let headers = delivery.properties().ok().and_then(|properties| properties.headers.clone());
        let offset = headers.and_then(|headers| headers.get(OFFSET)).as_ref().and_then(Value::as_i64);
        if let Some(offset) = offset.and_then(|offset| u64::try_from(offset).ok()) {
            self.next = Some(offset.saturating_add(1));
        }
    }

    /// It ended: one that was deleted begins anew.
    pub(crate) fn ended(&mut self, error: &Error) {
        if let Error::ConsumerEnded { source: Some(amqp_client::Error::ConsumerCancelled { .. }), .. } = error
        {
            self.next = None;
        }
    }
}
