//! One channel as its client sees it.

use std::collections::{BTreeMap, BTreeSet};

use amqp_codec::{MethodId, ReplyCode, ShortString};

use super::topology::{Binding, Exchange, Queue};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Plain,
    Confirm,
    Transaction,
}

#[derive(Clone, Debug)]
pub(super) struct Consumer {
    pub(super) queue: ShortString,
    pub(super) no_ack: bool,
    pub(super) exclusive: bool,
}

/// What holds once a request is answered.
#[derive(Clone, Debug)]
pub(super) enum Effect {
    None,
    Opened,
    Closed,
    Declared(Box<Queue>),
    DeclaredExchange(Box<Exchange>),
    /// The queue is there, and is the channel's current one.
    Found,
    Bound(Binding),
    Consumes(Consumer),
    Got {
        no_ack: bool,
    },
    Recovered,
    Entered(Mode),
    Committed,
    RolledBack,
}

/// A request whose answer has not come.
#[derive(Clone, Debug)]
pub(super) struct Pending {
    pub(super) reply: MethodId,
    pub(super) effect: Effect,
}

/// The message whose content arrives.
#[derive(Clone, Debug)]
pub(super) struct Arriving {
    pub(super) left: u64,
    pub(super) has_header: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Channel {
    pub(super) mode: Mode,
    pub(super) pending: Option<Pending>,
    /// The code with which the broker is expected to close the channel.
    pub(super) doomed: Option<ReplyCode>,
    /// Whether something was sent since the last answer that nothing answers: the broker may not
    /// have done it yet.
    pub(super) is_ahead: bool,
    pub(super) prefetch: u16,
    pub(super) has_global_prefetch: bool,
    pub(super) consumers: BTreeMap<ShortString, Consumer>,
    /// Whether it has consumed from a stream, whose deliveries can only be acknowledged.
    pub(super) has_streamed: bool,
    /// The tag of the consumer of replies.
    pub(super) replies: Option<ShortString>,
    pub(super) current_queue: Option<ShortString>,
    pub(super) unsettled: BTreeSet<u64>,
    /// What the transaction has settled.
    pub(super) settled: BTreeSet<u64>,
    pub(super) last_delivery: u64,
    pub(super) published: u64,
    pub(super) unconfirmed: BTreeSet<u64>,
    pub(super) arriving: Option<Arriving>,
}

impl Channel {
    /// A channel whose `channel.open` is sent.
    pub(super) fn new(pending: Option<Pending>) -> Self {
        Channel {
            mode: Mode::Plain,
            pending,
            doomed: None,
            is_ahead: false,
            prefetch: 0,
            has_global_prefetch: false,
            consumers: BTreeMap::new(),
            has_streamed: false,
            replies: None,
            current_queue: None,
            unsettled: BTreeSet::new(),
            settled: BTreeSet::new(),
            last_delivery: 0,
            published: 0,
            unconfirmed: BTreeSet::new(),
            arriving: None,
        }
    }

    /// Returns whether the client may send something.
    pub(super) fn is_free(&self) -> bool {
        self.pending.is_none() && self.doomed.is_none()
    }

    /// Returns whether the broker has done all that was sent.
    pub(super) fn is_quiet(&self) -> bool {
        self.is_free() && !self.is_ahead
    }
}
