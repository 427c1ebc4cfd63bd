//! One channel: its calls in order, the content being received, its consumers, confirms and acks.

mod answers;
mod consumers;
mod content;
mod ending;
mod held;
mod last_queue;
mod methods;
mod publishing;
mod requests;
mod restore;
mod settling;

use std::{
    collections::VecDeque,
    sync::Arc,
    task::Waker,
    time::{Duration, Instant},
};

use amqp_codec::{Assembler, Error as CodecError, Method, ReplyCode, ShortString, method::basic};
use bytes::Bytes;

use crate::error::{Error, Result};
use crate::proto::{
    calls::CallId,
    consuming::{acks::Acks, consumers::Consumers},
    expects::Expects,
    ground::waiters::Waiters,
    publishing::confirms::Confirms,
    status::ChannelStatus,
    transaction::Transaction,
};

/// The most acks that gather while a consumer is busy.
const MAX_ACK_BATCH: usize = 128;

#[derive(Clone, Debug)]
enum Phase {
    Open,
    /// `channel.close` was sent; everything but its answer is ignored.
    Closing,
    /// The broker does not know the channel any more, for this reason. It is to be reopened.
    Lost(Error),
    /// The channel was reopened; its modes and consumers are being restored.
    Restoring,
}

/// How a channel that is to be restored was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    /// The transport failed. No publish can be the cause, so publishes may be repeated.
    Transport,
    /// The broker closed the channel or the connection. A publish may be the cause: repeating it
    /// would cause the same again and again.
    Closed,
}

impl Loss {
    /// Returns how the channels of a lost connection were lost. Brokers send 320 when they shut
    /// down or when an operator closes the connection; any other code may be about a publish.
    pub(crate) fn of_connection(reason: &Error) -> Self {
        match reason {
            Error::ConnectionClosed(close) if close.code != ReplyCode::CONNECTION_FORCED => Loss::Closed,
            _ => Loss::Transport,
        }
    }
}

/// An answer that the broker owes.
struct Due {
    call: Option<CallId>,
    expects: Expects,
    /// The method to be recorded in the registry when it succeeds.
    request: Option<Method>,
}

/// The method of the content being received.
enum Incoming {
    Deliver { consumer: usize, payload: Bytes, exchange_at: usize, tag: u64, redelivered: bool },
    Get { payload: Bytes, ok: basic::GetOk, no_ack: bool },
    Return { payload: Bytes, exchange_at: usize, code: u16, text: String },
}

pub(crate) struct Channel {
    id: u16,
    phase: Phase,
    due: VecDeque<Due>,
    incoming: Assembler<Incoming>,
    /// The size above which the body being received is dropped, because its consumer wants no
    /// larger ones.
    withhold_over: Option<u64>,
    /// The call that waits for the content of a `basic.get-ok`, while that is being received.
    getting: Option<CallId>,
    /// Whether content over the limit was refused: everything until the channel is closed is
    /// ignored.
    is_discarding: bool,
    pub(crate) consumers: Consumers,
    /// The highest limit of unsettled deliveries among the consumers since the channel was opened.
    loosest_limit: u32,
    pub(crate) acks: Acks,
    /// The last delivery tag before this connection: tags restart on each connection, but continue
    /// here.
    tags_before: u64,
    /// How many waiting acks are enough for a batch.
    ack_batch: usize,
    /// How many answers to `basic.recover` are due: the broker has requeued what it delivers before
    /// them.
    recovering: usize,
    pub(crate) confirms: Option<Confirms>,
    /// The transaction mode, if `tx.select` was called.
    transaction: Option<Transaction>,
    /// The prefetch of the channel as a whole, if one was set.
    qos: Option<basic::Qos>,
    /// The queue declared last, which an empty name stands for.
    last_queue: ShortString,
    /// Whether the channel is reopened when the broker closes it for an error.
    reopens: bool,
    /// Whether the broker has stopped the flow of publishes.
    pub(crate) flow_stopped: bool,
    status: Arc<ChannelStatus>,
    /// The futures that wait for the channel's end.
    pub(crate) end_waiters: Waiters,
    /// The futures that wait until the channel has nothing left to do.
    pub(crate) drain_waiters: Waiters,
    /// The arrival time of the long-held delivery that the user was last warned of.
    warned_of: Option<Instant>,
    /// Whether a consumer that has waited for its queue is being restarted.
    resumes_held: bool,
    /// The futures that wait for room in the window of unconfirmed publishes, or for the flow.
    pub(crate) window_waiters: Waiters,
}

/// The effect of a frame on the channel as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    Goes,
    /// The channel is to be reopened.
    Lost,
    /// The channel's number is free again.
    Gone,
}

impl Channel {
    pub(crate) fn new(id: u16, status: Arc<ChannelStatus>, reopens: bool) -> Self {
        Channel {
            id,
            phase: Phase::Open,
            due: VecDeque::new(),
            incoming: Assembler::default(),
            withhold_over: None,
            getting: None,
            is_discarding: false,
            consumers: Consumers::default(),
            loosest_limit: 0,
            acks: Acks::default(),
            tags_before: 0,
            ack_batch: MAX_ACK_BATCH,
            recovering: 0,
            confirms: None,
            transaction: None,
            qos: None,
            last_queue: ShortString::EMPTY,
            reopens,
            flow_stopped: false,
            status,
            end_waiters: Waiters::default(),
            drain_waiters: Waiters::default(),
            warned_of: None,
            resumes_held: false,
            window_waiters: Waiters::default(),
        }
    }

    #[inline]
    pub(crate) fn id(&self) -> u16 {
        self.id
    }

    #[inline]
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open)
    }

    /// Tells whether deliveries can be settled.
    #[inline]
    pub(crate) fn is_live(&self) -> bool {
        matches!(self.phase, Phase::Open | Phase::Restoring)
    }

    #[inline]
    pub(crate) fn is_closing(&self) -> bool {
        matches!(self.phase, Phase::Closing)
    }

    /// Returns the reason why the channel cannot be used.
    #[cold]
    pub(crate) fn refusal(&self) -> Error {
        match self.phase {
            Phase::Lost(_) | Phase::Restoring => Error::Recovering,
            Phase::Open | Phase::Closing => Error::ChannelEnded { channel: self.id },
        }
    }

    /// Checks that the channel is open.
    ///
    /// # Errors
    /// [`Error::Recovering`] if it will be open again, or else that it has ended, without the
    /// reason.
    #[inline]
    pub(crate) fn check_open(&self) -> Result<()> {
        if self.is_open() { Ok(()) } else { Err(self.refusal()) }
    }

    /// Checks that the channel is open, lost or being restored, like
    /// [`check_open`](Self::check_open).
    #[inline]
    pub(crate) fn check_not_closing(&self) -> Result<()> {
        if self.is_closing() { Err(self.refusal()) } else { Ok(()) }
    }

    /// Checks that the channel is being restored, like [`check_open`](Self::check_open).
    pub(crate) fn check_restoring(&self) -> Result<()> {
        if self.is_restoring() { Ok(()) } else { Err(self.refusal()) }
    }

    /// Tells whether the channel cannot be used, but will be again.
    pub(crate) fn is_recovering(&self) -> bool {
        matches!(self.phase, Phase::Lost(_) | Phase::Restoring)
    }

    /// Tells whether the channel has ended; the reason is in its status.
    pub(crate) fn has_ended(&self) -> bool {
        self.status.ended.get().is_some()
    }

    /// Frees memory that an idle channel does not need.
    pub(crate) fn release(&mut self, wakes: &mut Vec<Waker>) {
        self.acks.release();
        if let Some(confirms) = &mut self.confirms {
            confirms.release();
        }
        self.consumers.release(wakes);
    }

    fn broken(&self, source: CodecError) -> Error {
        Error::Protocol { channel: self.id, source }
    }

    fn unexpected(&self, expected: &'static str, got: &'static str) -> Error {
        Error::UnexpectedMethod { channel: self.id, expected, got }
    }

    /// Returns the reason for which the channel was lost, if it waits to be restored.
    pub(crate) fn lost_for(&self) -> Option<&Error> {
        match &self.phase {
            Phase::Lost(reason) => Some(reason),
            _ => None,
        }
    }

    /// Tells whether the channel is being restored.
    pub(crate) fn is_restoring(&self) -> bool {
        matches!(self.phase, Phase::Restoring)
    }

    /// Tells whether there is nothing left to do: no consumer, nothing unacked, nothing
    /// unconfirmed.
    pub(crate) fn is_drained(&self) -> bool {
        self.consumers.is_empty()
            && self.acks.is_idle()
            && self.confirms.as_ref().is_none_or(|confirms| confirms.in_flight() == 0)
    }

    pub(crate) fn is_being_cancelled(&self, tag: &ShortString) -> bool {
        let is_asked = |due: &Due| matches!(&due.expects, Expects::Cancel { tag: other } if other == tag);
        self.due.iter().any(is_asked)
    }

    /// Returns the tags of the consumers whose cancel is not answered.
    fn being_cancelled(&self) -> Vec<ShortString> {
        let cancelled = self.due.iter().filter_map(|due| match &due.expects {
            Expects::Cancel { tag } => Some(tag.clone()),
            _ => None,
        });
        cancelled.collect()
    }

    /// Returns how many futures wait for something of the channel, except its calls and confirms.
    pub(crate) fn waiting(&self) -> usize {
        let waiters = [&self.end_waiters, &self.drain_waiters, &self.window_waiters];
        waiters.into_iter().map(Waiters::len).sum::<usize>()
            + self.confirms.as_ref().map_or(0, Confirms::flushing)
    }

    /// Returns how long the oldest delivery has been held, if that is over `limit` and was not
    /// reported before.
    pub(crate) fn held_too_long(&mut self, now: Instant, limit: Duration) -> Option<Duration> {
        let arrived = self.acks.oldest()?;
        let held = now.saturating_duration_since(arrived);
        if held < limit || self.warned_of == Some(arrived) {
            return None;
        }
        self.warned_of = Some(arrived);
        Some(held)
    }

    /// Notes an operation that takes effect with a commit, if the channel is in transaction mode.
    #[inline]
    pub(crate) fn works(&mut self) {
        if let Some(transaction) = &mut self.transaction {
            transaction.has_work = true;
        }
    }

    /// Tells whether the transaction is incomplete, because a part of it was on a lost connection.
    pub(crate) fn has_lost_transaction(&self) -> bool {
        self.transaction.as_ref().is_some_and(|transaction| transaction.is_lost)
    }
}
