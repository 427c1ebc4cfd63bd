//! One channel as its client sees it.

use std::collections::{BTreeMap, BTreeSet};

use amqp_codec::{MethodId, ReplyCode, ShortString};

use super::topology::{Binding, Exchange, Queue};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Plain,
    Confirm,
    Transaction,
}

#[derive(Clone, Debug)]
pub(crate) struct Consumer {
    pub(crate) queue: ShortString,
    pub(crate) no_ack: bool,
    pub(crate) exclusive: bool,
}

/// What holds once a request is answered.
#[derive(Clone, Debug)]
pub(crate) enum Effect {
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
pub(crate) struct Pending {
    pub(crate) reply: MethodId,
    pub(crate) effect: Effect,
}

/// The message whose content arrives.
#[derive(Clone, Debug)]
pub(crate) struct Arriving {
    pub(crate) left: u64,
    pub(crate) has_header: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Channel {
    pub(crate) mode: Mode,
    pub(crate) pending: Option<Pending>,
    /// The code with which the broker is expected to close the channel.
    pub(crate) doomed: Option<ReplyCode>,
    /// Whether something was sent since the last answer that nothing answers: the broker may not
    /// have done it yet.
    pub(crate) is_ahead: bool,
    pub(crate) prefetch: u16,
    pub(crate) has_global_prefetch: bool,
    pub(crate) consumers: BTreeMap<ShortString, Consumer>,
    /// Whether it has consumed from a stream, whose deliveries can only be acknowledged.
    pub(crate) has_streamed: bool,
    /// The tag of the consumer of replies.
    pub(crate) replies: Option<ShortString>,
    pub(crate) current_queue: Option<ShortString>,
    pub(crate) unsettled: BTreeSet<u64>,
    /// What the transaction has settled.
    pub(crate) settled: BTreeSet<u64>,
    pub(crate) last_delivery: u64,
    pub(crate) published: u64,
    pub(crate) unconfirmed: BTreeSet<u64>,
    pub(crate) arriving: Option<Arriving>,
}

impl Channel {
    /// A channel whose `channel.open` is sent.
    pub(crate) fn new(pending: Option<Pending>) -> Self {
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
    pub(crate) fn is_free(&self) -> bool {
        self.pending.is_none() && self.doomed.is_none()
    }

    /// Returns whether the broker has done all that was sent.
    pub(crate) fn is_quiet(&self) -> bool {
        self.is_free() && !self.is_ahead
    }
}
