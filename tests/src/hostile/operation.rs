//! Operations that are a few frames for their client and much work for the broker.

use std::{fmt, io};

use super::{bulk, routing};
use crate::raw_client::RawClient;

/// One operation, and how large it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// So many queues of no length, whose dead letters go to one fanout bound to all of them; one
    /// publish.
    DeadLetterStorm {
        /// How many queues.
        queues: usize,
    },
    /// A publish to a headers exchange, whose bindings want each of its headers.
    Headers {
        /// How many bindings.
        bindings: usize,
        /// How many headers; a frame holds 26,000.
        entries: usize,
    },
    /// A publish with empty `CC` keys to a headers exchange.
    EmptyKeysToHeaders {
        /// How many keys; a frame holds 26,000.
        keys: usize,
    },
    /// A publish with empty `CC` keys to a fanout.
    EmptyKeysToFanout {
        /// How many keys; a frame holds 26,000.
        keys: usize,
    },
    /// A publish with `CC` keys of 127 words to a topic exchange, whose patterns are of `#`, `*`
    /// and `a`.
    Topic {
        /// How many patterns, of 60 words.
        patterns: usize,
        /// How many keys; a frame holds 500.
        keys: usize,
    },
    /// The deletion of an exchange with bindings to one queue.
    ExchangeDelete {
        /// How many bindings.
        bindings: usize,
    },
    /// The deletion of a queue with bindings to one headers exchange.
    QueueDelete {
        /// How many bindings.
        bindings: usize,
    },
    /// The purge of a queue.
    Purge {
        /// How many messages it has.
        messages: usize,
    },
    /// The deletion of a queue with messages.
    DeleteFull {
        /// How many messages it has.
        messages: usize,
    },
    /// The commit of a transaction.
    Commit {
        /// How many publishes it has.
        messages: usize,
    },
    /// Messages that have waited behind another for longer than they live, when that one goes; each
    /// has one further queue to go to.
    Expiry {
        /// How many messages.
        messages: usize,
    },
}

impl Operation {
    /// All of them, at the size at which they were found.
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

    /// Smaller, or larger: what there can be any number of, so many times as many. What is an
    /// exponent or fills a frame stays.
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

    /// Declares and publishes what it works on. The broker has done all of that when this returns.
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

    /// Does it, after [`prepare`](Self::prepare) by the same client, and returns when its answer,
    /// or the confirm of its publish, has come. A storm goes on after that.
    ///
    /// # Errors
    /// When the connection fails, the broker refuses, or the result is not what it should be.
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
