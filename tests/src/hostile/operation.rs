//! Operations that take a client a few frames, and a broker much work.

use std::{fmt, io};

use super::{bulk, routing};
use crate::raw_client::RawClient;

/// An operation and its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Publishes once to queues of length zero whose dead letters go to a fanout that is bound to
    /// all of them.
    DeadLetterStorm {
        /// The number of queues.
        queues: usize,
    },
    /// Publishes to a headers exchange whose bindings want each of the message's headers.
    Headers {
        /// The number of bindings.
        bindings: usize,
        /// The number of headers; a frame holds 26,000.
        entries: usize,
    },
    /// Publishes with empty `CC` keys to a headers exchange.
    EmptyKeysToHeaders {
        /// The number of keys; a frame holds 26,000.
        keys: usize,
    },
    /// Publishes with empty `CC` keys to a fanout.
    EmptyKeysToFanout {
        /// The number of keys; a frame holds 26,000.
        keys: usize,
    },
    /// Publishes with `CC` keys of 127 words to a topic exchange, whose patterns consist of `#`,
    /// `*` and `a`.
    Topic {
        /// The number of patterns, of 60 words.
        patterns: usize,
        /// The number of keys; a frame holds 500.
        keys: usize,
    },
    /// Deletes an exchange with bindings to one queue.
    ExchangeDelete {
        /// The number of bindings.
        bindings: usize,
    },
    /// Deletes a queue with bindings to one headers exchange.
    QueueDelete {
        /// The number of bindings.
        bindings: usize,
    },
    /// Purges a queue.
    Purge {
        /// The number of its messages.
        messages: usize,
    },
    /// Deletes a queue with messages.
    DeleteFull {
        /// The number of its messages.
        messages: usize,
    },
    /// Commits a transaction.
    Commit {
        /// The number of its publishes.
        messages: usize,
    },
    /// Removes a message behind which all others have expired; each of those is dead-lettered to
    /// another queue.
    Expiry {
        /// The number of messages.
        messages: usize,
    },
}

impl Operation {
    /// All operations, at the sizes at which they were found.
    pub const ALL: [Self; 11] = [
        Self::DeadLetterStorm { queues: 25 },
        Self::Headers { bindings: 20, entries: 26_000 },
        Self::EmptyKeysToHeaders { keys: 20_000 },
        Self::EmptyKeysToFanout { keys: 20_000 },
        Self::Topic { patterns: 3_000, keys: 480 },
        Self::ExchangeDelete { bindings: 100_000 },
        Self::QueueDelete { bindings: 30_000 },
        Self::Purge { messages: 5_000_000 },
        Self::DeleteFull { messages: 5_000_000 },
        Self::Commit { messages: 2_000_000 },
        Self::Expiry { messages: 5_000_000 },
    ];

    /// Scales the numbers that have no limit; exponents and numbers that fill a frame stay.
    #[must_use]
    pub fn scaled(self, factor: f64) -> Self {
        let times = |count: usize| ((count as f64 * factor) as usize).max(1);
        match self {
            Self::ExchangeDelete { bindings } => Self::ExchangeDelete { bindings: times(bindings) },
            Self::QueueDelete { bindings } => Self::QueueDelete { bindings: times(bindings) },
            Self::Purge { messages } => Self::Purge { messages: times(messages) },
            Self::DeleteFull { messages } => Self::DeleteFull { messages: times(messages) },
            Self::Commit { messages } => Self::Commit { messages: times(messages) },
            Self::Expiry { messages } => Self::Expiry { messages: times(messages) },
            other => other,
        }
    }

    /// Declares and publishes what the operation works on. The broker has done all of that when
    /// this returns.
    ///
    /// # Errors
    /// When the connection fails, or the broker refuses.
    pub async fn prepare(self, client: &mut RawClient) -> io::Result<()> {
        match self {
            Self::DeadLetterStorm { queues } => routing::prepare_storm(client, queues).await,
            Self::Headers { bindings, entries } => routing::prepare_headers(client, bindings, entries).await,
            Self::EmptyKeysToHeaders { .. } => routing::prepare_empty_keys(client, "headers").await,
            Self::EmptyKeysToFanout { .. } => routing::prepare_empty_keys(client, "fanout").await,
            Self::Topic { patterns, .. } => routing::prepare_topic(client, patterns).await,
            Self::ExchangeDelete { bindings } => bulk::bind_many(client, "direct", bindings).await,
            Self::QueueDelete { bindings } => bulk::bind_many(client, "headers", bindings).await,
            Self::Purge { messages } | Self::DeleteFull { messages } => bulk::fill(client, messages).await,
            Self::Commit { messages } => bulk::prepare_commit(client, messages).await,
            Self::Expiry { messages } => bulk::prepare_expiry(client, messages).await,
        }
    }

    /// Executes the operation, after [`prepare`](Self::prepare) by the same client. Returns when
    /// its answer or confirm has come; a storm of dead letters continues after that.
    ///
    /// # Errors
    /// When the connection fails, the broker refuses, or the result is wrong.
    pub async fn run(self, client: &mut RawClient) -> io::Result<()> {
        match self {
            Self::DeadLetterStorm { .. } => routing::storm(client).await,
            Self::Headers { entries, .. } => routing::publish_headers(client, entries).await,
            Self::EmptyKeysToHeaders { keys } | Self::EmptyKeysToFanout { keys } => {
                routing::publish_empty_keys(client, keys).await
            }
            Self::Topic { keys, .. } => routing::publish_to_topic(client, keys).await,
            Self::ExchangeDelete { .. } => bulk::delete_exchange(client).await,
            Self::QueueDelete { .. } => bulk::delete_queue(client, 0).await,
            Self::Purge { messages } => bulk::purge(client, messages).await,
            Self::DeleteFull { messages } => bulk::delete_queue(client, messages).await,
            Self::Commit { messages } => bulk::commit(client, messages).await,
            Self::Expiry { messages } => bulk::expire(client, messages).await,
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DeadLetterStorm { queues } => write!(f, "dead-letter storm of {queues} queues"),
            Self::Headers { bindings, entries } => {
                write!(f, "headers: {bindings} bindings, {entries} headers")
            }
            Self::EmptyKeysToHeaders { keys } => write!(f, "{keys} empty CC keys, headers"),
            Self::EmptyKeysToFanout { keys } => write!(f, "{keys} empty CC keys, fanout"),
            Self::Topic { patterns, keys } => write!(f, "topic: {patterns} patterns, {keys} CC keys"),
            Self::ExchangeDelete { bindings } => write!(f, "exchange.delete, {bindings} bindings"),
            Self::QueueDelete { bindings } => write!(f, "queue.delete, {bindings} header bindings"),
            Self::Purge { messages } => write!(f, "queue.purge, {messages} messages"),
            Self::DeleteFull { messages } => write!(f, "queue.delete, {messages} messages"),
            Self::Commit { messages } => write!(f, "tx.commit, {messages} publishes"),
            Self::Expiry { messages } => write!(f, "{messages} messages expire, one hop each"),
        }
    }
}
