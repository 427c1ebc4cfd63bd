//! Compressed replies that wait until there is room for them.

use std::{collections::VecDeque, future::pending, time::Duration};

use amqp_client::{Acker, Delivery, Received};
use futures_util::future::BoxFuture;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::{
    compress::Budget,
    error::Malformed,
    oslo::{
        rpc::message::wire::ReceivedReply,
        wire::envelope::{self, Opened},
    },
};

/// The bytes of compressed replies that may wait. At this bound, reading pauses.
const LIMIT: usize = 64 * 1024 * 1024;
/// The longest pause in which no room becomes free. Then replies that would have to wait are
/// refused, so that others get through.
const PATIENCE: Duration = Duration::from_secs(10);

/// A reply that has been read, or refused.
pub(super) struct Reply {
    pub(super) acker: Acker,
    pub(super) read: Read,
}

/// The content of a reply.
pub(super) enum Read {
    Reply(ReceivedReply),
    Malformed(Malformed),
    /// There was no room for it.
    Refused,
}

/// The replies that wait for room, in the order in which they came. Those that are not compressed
/// need no room, and pass.
pub(super) struct Unopened {
    budget: Budget,
    /// The oldest, which is opened as soon as there is room.
    first: Option<First>,
    others: VecDeque<Waiting>,
    /// The bytes of all of them.
    bytes: usize,
    /// The end of the present pause.
    paused_until: Option<Instant>,
    /// Set when a pause has ended without any room, until some becomes free.
    stuck: bool,
}

struct First {
    bytes: usize,
    opening: BoxFuture<'static, Reply>,
}

struct Waiting {
    delivery: Delivery,
    /// The time after which no call waits for it.
    until: Instant,
}

impl Unopened {
    pub(super) fn new(budget: Budget) -> Self {
        let (first, others, bytes, paused_until, stuck) = Default::default();
        Unopened { budget, first, others, bytes, paused_until, stuck }
    }

    /// Tells whether no other reply should be read at the moment.
    pub(super) fn is_full(&self) -> bool {
        self.paused_until.is_some()
    }

    /// Opens a reply. One for which there is no room waits, at the longest until the time after
    /// which no call waits for it.
    pub(super) fn open(&mut self, delivery: Delivery, until: Instant) -> Option<Reply> {
        self.stuck &= self.first.is_some();
        let waits = self.first.is_some() && envelope::is_compressed(&delivery);
        if !waits {
            let (received, acker) = delivery.split();
            if let Some(opened) = envelope::try_open(&received, &self.budget) {
                return Some(Reply { acker, read: read(opened) });
            }
            self.bytes += received.body().len();
            self.first = Some(self.begin(received, acker, until));
        } else if self.stuck {
            return Some(Reply { acker: delivery.split().1, read: Read::Refused });
        } else {
            self.bytes += delivery.body().len();
            self.others.push_back(Waiting { delivery, until });
        }
        if self.bytes >= LIMIT {
            self.paused_until = Some(Instant::now() + PATIENCE);
        }
        None
    }

    /// Returns the next reply that had to wait; `None` when a pause has ended without one.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub(super) async fn next(&mut self) -> Option<Reply> {
        let Some(First { bytes, opening }) = &mut self.first else { return pending().await };
        let pause = async {
            match self.paused_until {
                Some(end) => sleep_until(end).await,
                None => pending().await,
            }
        };
        let reply = tokio::select! {
            biased;
            reply = opening => reply,
            () = pause => {
                self.paused_until = None;
                self.stuck = true;
                return None;
            }
        };
        self.bytes -= *bytes;
        self.first = None;
        self.stuck &= matches!(reply.read, Read::Refused);
        self.paused_until = (self.bytes >= LIMIT && !self.stuck).then(|| Instant::now() + PATIENCE);
        if let Some(Waiting { delivery, until }) = self.others.pop_front() {
            let (received, acker) = delivery.split();
            self.first = Some(self.begin(received, acker, until));
        }
        Some(reply)
    }

    fn begin(&self, received: Received, acker: Acker, until: Instant) -> First {
        let (budget, bytes) = (self.budget.clone(), received.body().len());
        let opening = async move {
            let opened = timeout_at(until, envelope::open(&received, &budget)).await;
            Reply { acker, read: opened.map_or(Read::Refused, read) }
        };
        First { bytes, opening: Box::pin(opening) }
    }
}

fn read(opened: Result<Opened, Malformed>) -> Read {
    let reply = opened.and_then(|Opened { text, room, .. }| {
        let mut reply = ReceivedReply::from_json(&text)?;
        reply.room = room;
        Ok(reply)
    });
    reply.map_or_else(Read::Malformed, Read::Reply)
}
