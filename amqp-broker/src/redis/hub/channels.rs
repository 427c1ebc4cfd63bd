//! Listening to channels with the second version of the protocol.

use std::{fmt, future::poll_fn, pin::Pin, time::Duration};

use futures_core::Stream;
use redis::{
    RedisError, RedisResult,
    aio::{PubSub, PubSubSink, PubSubStream},
};
use tokio::{sync::Mutex, time};

/// A connection that can do nothing but listen to channels.
pub(super) struct Channels {
    sink: Mutex<PubSubSink>,
    messages: parking_lot::Mutex<Option<PubSubStream>>,
    answer_time: Duration,
}

impl Channels {
    pub(super) fn new(connection: PubSub, answer_time: Duration) -> Self {
        let (sink, messages) = connection.split();
        Channels { sink: Mutex::new(sink), messages: parking_lot::Mutex::new(Some(messages)), answer_time }
    }

    pub(super) async fn subscribe(&self, patterns: &[String]) -> RedisResult<()> {
        self.in_time(async { self.sink.lock().await.psubscribe(patterns).await }).await
    }

    pub(super) async fn unsubscribe(&self, patterns: &[String]) -> RedisResult<()> {
        self.in_time(async { self.sink.lock().await.punsubscribe(patterns).await }).await
    }

    /// Tells whether the connection still answers.
    pub(super) async fn check_health(&self) -> RedisResult<()> {
        self.in_time(async { self.sink.lock().await.ping::<redis::Value>().await.map(|_| ()) }).await
    }

    /// Passes on what arrives until the connection ends: the pattern and the message.
    pub(super) async fn listen(&self, mut arrived: impl FnMut(&str, &[u8])) {
        let Some(mut messages) = self.messages.lock().take() else { return };
        while let Some(message) = poll_fn(|context| Pin::new(&mut messages).poll_next(context)).await {
            if let Ok(pattern) = message.get_pattern::<String>() {
                arrived(&pattern, message.get_payload_bytes());
            }
        }
    }

    async fn in_time(&self, answer: impl Future<Output = RedisResult<()>>) -> RedisResult<()> {
        let late = |_| RedisError::from(std::io::Error::from(std::io::ErrorKind::TimedOut));
        time::timeout(self.answer_time, answer).await.map_err(late)?
    }
}

impl fmt::Debug for Channels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channels").finish_non_exhaustive()
    }
}
