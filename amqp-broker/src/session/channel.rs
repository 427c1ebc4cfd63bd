//! A channel: its state, and what all of its parts ask of that. The parts are the files of its
//! folder.

mod answers;
mod confirms;
mod methods;
mod pausing;
mod publishing;
mod transaction;

use std::sync::Arc;

use amqp_codec::ShortString;

use crate::core::{
    collections::segments::Segments,
    entities::ids::ChannelId,
    rabbitmq::access::tally::Place,
    vhost::operations::publish::Route,
    work::{Work, publishing::Prepared, removal::Removal},
};

use super::{incoming::Incoming, shared::Operation};

/// The client's name for its connection, if it gave one.
pub(crate) type ClientName = Option<Arc<str>>;

/// A channel that is open or closing.
#[derive(Debug)]
pub(crate) struct ChannelSession {
    pub(crate) number: u16,
    /// `None` once the broker has closed it for an error: until the client answers, everything else
    /// is ignored.
    key: Option<ChannelId>,
    incoming: Incoming,
    route: Route,
    mode: Mode,
    /// The queue that the empty queue name stands for.
    last_queue: ShortString,
    /// How many persistent changes there were when the current operation began, and the number of
    /// this channel's last change.
    seen: usize,
    changed: u64,
    /// The change that the last answer waited for: no later answer may overtake it.
    answered: u64,
    /// How many bytes of unpublished content it held when last weighed.
    unpublished: u64,
    /// The client's name for the connection.
    connection: ClientName,
    /// It counts among its user's.
    _place: Place,
}

/// How publishes on the channel are answered.
#[derive(Debug, Default)]
enum Mode {
    #[default]
    Plain,
    Confirm {
        /// The tag of the last publish.
        published: u64,
        /// All publishes up to this tag are answered.
        answered: u64,
        /// Whether a test has swallowed an earlier confirm: no later one may cover it.
        has_gap: bool,
    },
    /// Publishes wait for the commit.
    Transaction(Pending),
}

/// The publishes that wait for the commit.
#[derive(Debug, Default)]
struct Pending {
    publishes: Segments<Prepared>,
    /// How many there are.
    count: usize,
    /// How many bytes they take.
    weight: u64,
}

impl ChannelSession {
    pub(crate) fn new(number: u16, key: ChannelId, connection: ClientName, place: Place) -> Self {
        ChannelSession {
            number,
            key: Some(key),
            incoming: Incoming::default(),
            route: Route::default(),
            mode: Mode::Plain,
            last_queue: ShortString::EMPTY,
            seen: 0,
            changed: 0,
            answered: 0,
            unpublished: 0,
            connection,
            _place: place,
        }
    }

    /// Tells whether the broker has closed it for an error and the client has not answered yet.
    pub(crate) fn is_closing(&self) -> bool {
        self.key.is_none()
    }

    /// Takes the publishes of its transaction, which will not be committed.
    pub(crate) fn take_publishes(&mut self) -> Option<Segments<Prepared>> {
        match &mut self.mode {
            Mode::Transaction(pending) => Some(std::mem::take(pending).publishes),
            _ => None,
        }
    }

    /// Ends the channel; returns what is left to be done on the virtual host. Frames that come
    /// until the client answers are ignored.
    pub(crate) fn end(&mut self, op: &mut Operation<'_>) -> Work {
        let removal = self.key.take().map(Removal::channel).unwrap_or_default();
        self.incoming = Incoming::default();
        let publishes = self.take_publishes();
        self.mode = Mode::Plain;
        self.weigh_unpublished(op);
        Work::Remove(Box::new(removal.with_publishes(publishes.into_iter().collect())))
    }

    /// Counts the memory of its unpublished content.
    pub(crate) fn weigh_unpublished(&mut self, op: &mut Operation<'_>) {
        let pending = match &self.mode {
            Mode::Transaction(pending) => pending.weight,
            _ => 0,
        };
        let now = pending + self.incoming.weight();
        let before = std::mem::replace(&mut self.unpublished, now);
        op.unpublished += now as i64 - before as i64;
    }
}
