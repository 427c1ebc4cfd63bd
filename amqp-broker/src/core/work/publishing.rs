//! A publish that was interrupted.

use std::collections::HashSet;

use amqp_codec::ShortString;
use bytes::Bytes;

use super::routing::{Found, Routing};
use crate::core::{
    content::message::{Draft, MESSAGE_OVERHEAD, Message, Origin, Parts},
    entities::{ids::ExchangeId, queue::MessageTerms},
    journal::kept::Kept,
};

/// What became of a published message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Published {
    /// Every queue it was routed to has it.
    #[default]
    Queued,
    /// No queue wanted it.
    Unroutable,
    /// A queue that is full refused it.
    Rejected,
}

/// A publish that was interrupted: everything to go on with.
#[derive(Debug, Default)]
pub(crate) struct Publishing {
    pub(crate) draft: Draft,
    pub(crate) stored: Option<Message>,
    pub(crate) terms: MessageTerms,
    pub(crate) is_persistent: bool,
    pub(crate) origin: Option<Origin>,
    /// The keys of `CC` and `BCC`.
    pub(crate) keys: Vec<ShortString>,
    /// While its queues are being looked for, and where from.
    pub(crate) routing: Option<Box<Routing>>,
    pub(crate) source: Option<ExchangeId>,
    pub(crate) found: Found,
    pub(crate) progress: Progress,
    pub(crate) is_letter: bool,
    /// Of a dead letter: how the message is kept of which it is one.
    pub(crate) kept: Kept,
    /// Of a dead letter: the names of the queues that it must not return to.
    pub(crate) not_to: HashSet<Bytes>,
}

impl Publishing {
    /// One whose queues have been found.
    pub(crate) fn prepared(prepared: Prepared) -> Self {
        let Prepared { message, terms, is_persistent, found, .. } = prepared;
        Publishing { stored: Some(message), terms, is_persistent, found, ..Publishing::default() }
    }

    /// The same, once they are found, to be published later.
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
    /// How much memory it takes, near enough.
    pub(crate) fn weight(&self) -> u64 {
        MESSAGE_OVERHEAD + self.message.weight() + 8 * self.found.queues.len() as u64
    }
}

/// How far the message of a publish is.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// The reply that is next, and the queue.
    pub(crate) reply: usize,
    pub(crate) queue: usize,
    pub(crate) outcome: Published,
}
