//! Listening to channels with the second version of the protocol.

use std::{collections::VecDeque, fmt, future::poll_fn, pin::Pin, time::Duration};

use futures_core::Stream;
use redis::{
    Msg, RedisError, RedisResult,
    aio::{PubSub, PubSubSink, PubSubStream},
};
use tokio::{
    sync::{Mutex, mpsc},
    time,
};

use crate::sync::{
    self,
    atomic::{AtomicBool, Ordering},
};

/// Connections that can do nothing but listen to channels: one, and now and then the next.
pub(super) struct Channels {
    sink: Mutex<PubSubSink>,
    /// The messages of each connection, one connection after the other.
    next: mpsc::UnboundedSender<PubSubStream>,
    streams: sync::Mutex<Option<mpsc::UnboundedReceiver<PubSubStream>>>,
    /// Set while the next connection may get the same messages as this one.
    overlapping: AtomicBool,
    answer_time: Duration,
}

impl Channels {
    pub(super) fn new(connection: PubSub, answer_time: Duration) -> Self {
        let (sink, messages) = connection.split();
        let (next, streams) = mpsc::unbounded_channel();
        _ = next.send(messages);
        Channels {
            sink: Mutex::new(sink),
            next,
            streams: sync::Mutex::new(Some(streams)),
            overlapping: AtomicBool::new(false),
            answer_time,
        }
    }

    pub(super) async fn subscribe(&self, patterns: &[String]) -> RedisResult<()> {
        self.in_time(async { self.sink.lock().await.psubscribe(patterns).await }).await
    }

    pub(super) async fn unsubscribe(&self, patterns: &[String]) -> RedisResult<()> {
        self.in_time(async { self.sink.lock().await.punsubscribe(patterns).await }).await
    }

    /// Has another connection take the place of this one. No message is missed or comes twice: for
    /// a moment both listen, and what comes on both is passed on once.
    pub(super) async fn replace(&self, connection: PubSub, patterns: &[String]) -> RedisResult<()> {
        let (mut sink, messages) = connection.split();
        self.overlapping.store(true, Ordering::SeqCst);
        if !patterns.is_empty()
            && let Err(error) = self.in_time(sink.psubscribe(patterns)).await
        {
            self.overlapping.store(false, Ordering::SeqCst);
            return Err(error);
        }
        let mut old = self.sink.lock().await;
        if !patterns.is_empty() {
            // All that this connection gets has arrived when this is answered.
            _ = self.in_time(old.punsubscribe(patterns)).await;
        }
        _ = self.next.send(messages);
        *old = sink;
        Ok(())
    }

    /// Tells whether the connection still answers.
    pub(super) async fn check_health(&self) -> RedisResult<()> {
        self.in_time(async { self.sink.lock().await.ping::<redis::Value>().await.map(|_| ()) }).await
    }

    /// Passes on what arrives until the last connection ends: the pattern and the message.
    pub(super) async fn listen(&self, mut arrived: impl FnMut(&str, &[u8])) {
        let Some(mut streams) = self.streams.lock().take() else { return };
        let (mut next, mut last) = (streams.recv().await, VecDeque::new());
        while let Some(mut messages) = next.take() {
            let mut before = Before(std::mem::take(&mut last));
            loop {
                // Messages that have arrived come before the next connection.
                let message = tokio::select! {
                    biased;
                    message = next_message(&mut messages) => message,
                    Some(following) = streams.recv() => {
                        next = Some(following);
                        break;
                    }
                };
                let Some(message) = message else {
                    next = streams.try_recv().ok();
                    break;
                };
                let Ok(pattern) = message.get_pattern::<String>() else { continue };
                if before.has(&pattern, &message) {
                    continue;
                }
                arrived(&pattern, message.get_payload_bytes());
                if self.overlapping.load(Ordering::SeqCst) {
                    last.push_back((pattern, message.get_payload_bytes().to_vec()));
                }
            }
            self.overlapping.store(false, Ordering::SeqCst);
        }
    }

    async fn in_time(&self, answer: impl Future<Output = RedisResult<()>>) -> RedisResult<()> {
        let late = |_| RedisError::from(std::io::Error::from(std::io::ErrorKind::TimedOut));
        time::timeout(self.answer_time, answer).await.map_err(late)?
    }
}

async fn next_message(messages: &mut PubSubStream) -> Option<Msg> {
    poll_fn(|context| Pin::new(&mut *messages).poll_next(context)).await
}

/// The latest messages of the connection before, in their order: the next one may begin with some
/// of them.
struct Before(VecDeque<(String, Vec<u8>)>);

impl Before {
    /// Tells whether a message has come before, and so have all in front of it.
    fn has(&mut self, pattern: &str, message: &Msg) -> bool {
        let is_same =
            |(other, raw): &(String, Vec<u8>)| other == pattern && raw == message.get_payload_bytes();
        match self.0.iter().position(is_same) {
            Some(place) => {
                self.0.drain(..=place);
                true
            }
            None => {
                self.0.clear();
                false
            }
        }
    }
}

impl fmt::Debug for Channels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channels").finish_non_exhaustive()
    }
}
