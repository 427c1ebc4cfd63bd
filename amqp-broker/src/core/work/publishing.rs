//! A publish that was interrupted.

use std::collections::HashSet;

use amqp_codec::ShortString;
use bytes::Bytes;

use super::routing::{Found, Routing};
use crate::core::{
    content::message::{Draft, MESSAGE_OVERHEAD, Message, Origin, Parts},
    entities::{
        ids::{ChannelId, ExchangeId},
        queue::MessageTerms,
    },
    journal::kept::Kept,
};

/// The outcome of a publish.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Published {
    /// Every queue that it was routed to has it.
    #[default]
    Queued,
    /// It was routed to no queue.
    Unroutable,
    /// A full queue refused it.
    Rejected,
}

/// An interrupted publish, with everything that is needed to continue.
#[derive(Debug, Default)]
pub(crate) struct Publishing {
    pub(crate) draft: Draft,
    pub(crate) stored: Option<Message>,
    pub(crate) terms: MessageTerms,
    pub(crate) is_persistent: bool,
    pub(crate) origin: Option<Origin>,
    /// The keys of `CC` and `BCC`.
    pub(crate) keys: Vec<ShortString>,
    /// The search for its queues, until it is complete.
    pub(crate) routing: Option<Box<Routing>>,
    pub(crate) source: Option<ExchangeId>,
    /// The channel that publishes it, until it is known that it does.
    pub(crate) by: Option<ChannelId>,
    pub(crate) found: Found,
    pub(crate) progress: PublishProgress,
    pub(crate) is_letter: bool,
    /// The key of the message that died, if this is a dead letter.
    pub(crate) kept: Kept,
    /// The names of the queues that it must not return to, if this is a dead letter.
    pub(crate) not_to: HashSet<Bytes>,
}

impl Publishing {
    /// Continues a publish whose queues have been found.
    pub(crate) fn prepared(prepared: Prepared) -> Self {
        let Prepared { message, terms, is_persistent, found, .. } = prepared;
        Publishing { stored: Some(message), terms, is_persistent, found, ..Publishing::default() }
    }

    /// Keeps the publish for later, once its queues are found.
    pub(crate) fn into_prepared(self, mandatory: bool) -> Prepared {
        let Publishing { mut draft, terms, is_persistent, found, .. } = self;
        let message = draft.message(found.queues.len() > 1, None);
        Prepared { message, terms, is_persistent, found, mandatory }
    }

    /// The message.
    pub(crate) fn parts(&self) -> Parts<'_> {
        match &self.stored {
            Some(message) => message.parts(),
            None => self.draft.parts(),
        }
    }

    pub(crate) fn outcome(&self) -> Published {
        self.progress.outcome
    }
}

/// A message that is published when its transaction is committed.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) message: Message,
    pub(crate) terms: MessageTerms,
    pub(crate) is_persistent: bool,
    pub(crate) found: Found,
    pub(crate) mandatory: bool,
}

impl Prepared {
    /// About how much memory it takes.
    pub(crate) fn weight(&self) -> u64 {
        MESSAGE_OVERHEAD + self.message.weight() + 8 * self.found.queues.len() as u64
    }
}

/// How far a message has come on its way into queues.
#[derive(Debug, Default)]
pub(crate) struct PublishProgress {
    /// The index of the next direct reply, and of the next queue.
    pub(crate) reply: usize,
    pub(crate) queue: usize,
    pub(crate) outcome: Published,
}
