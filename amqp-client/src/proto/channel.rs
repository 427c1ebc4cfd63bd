//! One channel: its calls in order, the content under way, its consumers, confirms and acks.

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

/// Acks that gather while a consumer is busy, at the most.
const MAX_ACK_BATCH: usize = 128;

#[derive(Clone, Debug)]
enum Phase {
    Open,
    /// `channel.close` is sent; all but its answer is of no consequence.
    Closing,
    /// The broker knows nothing of it any more, for this reason. It is to be opened again.
    Lost(Error),
    /// Opened again; what belongs to it is being set up.
    Restoring,
}

/// What takes a channel away that is to be restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    /// The transport: nobody is to blame, and publishes may be made again.
    Transport,
    /// The broker closed the channel or the connection, perhaps for what was published: made again,
    /// that would have it closed again, for ever.
    Closed,
}

impl Loss {
    /// What took a whole connection away. 320 is what a broker says that goes down, or its
    /// operator; nothing else it says is sure not to be about a publish.
    pub(crate) fn of_connection(reason: &Error) -> Self {
        match reason {
            Error::ConnectionClosed(close) if close.code != ReplyCode::CONNECTION_FORCED => Loss::Closed,
            _ => Loss::Transport,
        }
    }
}

/// An answer that is due.
struct Due {
    call: Option<CallId>,
    expects: Expects,
    /// What was asked for, when the registry is to know that it was done.
    request: Option<Method>,
}

/// The method of the content under way.
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
    /// Over which size the body of the content under way is dropped as it comes, because its
    /// consumer says so.
    withhold_over: Option<u64>,
    /// Who waits for the content of a `basic.get-ok`, while that is under way.
    getting: Option<CallId>,
    /// Content over the limit was refused: all until the channel is closed is of no consequence.
    is_discarding: bool,
    pub(crate) consumers: Consumers,
    /// Of the consumers there were since the channel was opened, that which may have most
    /// unsettled.
    loosest_limit: u32,
    pub(crate) acks: Acks,
    /// Delivery tags begin anew on each connection; here they go on, from this one.
    tags_before: u64,
    /// So many acks waiting are company enough.
    ack_batch: usize,
    /// Answers due to `basic.recover`: what is delivered before them the broker has taken back.
    recovering: usize,
    pub(crate) confirms: Option<Confirms>,
    /// Since `tx.select`.
    transaction: Option<Transaction>,
    /// The prefetch of the channel as a whole, when it was set.
    qos: Option<basic::Qos>,
    /// The queue declared last, which an empty name stands for.
    last_queue: ShortString,
    /// It is opened again when the broker closes it for an error.
    reopens: bool,
    /// The broker has stopped the flow of publishes.
    pub(crate) flow_stopped: bool,
    status: Arc<ChannelStatus>,
    /// Who waits for the channel's end.
    pub(crate) end_waiters: Waiters,
    /// Who waits for the channel to have nothing left to do.
    pub(crate) drain_waiters: Waiters,
    /// The arrival of the delivery that the user was warned of, for it is held for long.
    warned_of: Option<Instant>,
    /// A consumer that has waited for its queue is being begun again.
    resumes_held: bool,
    /// Who waits for room in the window of unconfirmed publishes, or for the flow.
    pub(crate) window_waiters: Waiters,
}

/// What a frame meant for the channel as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    Goes,
    /// It is to be opened again.
    Lost,
    /// Its number is free again.
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

    /// Whether what was delivered can be settled.
    #[inline]
    pub(crate) fn is_live(&self) -> bool {
        matches!(self.phase, Phase::Open | Phase::Restoring)
    }

    #[inline]
    pub(crate) fn is_closing(&self) -> bool {
        matches!(self.phase, Phase::Closing)
    }

    /// Why it cannot be used.
    #[cold]
    pub(crate) fn refusal(&self) -> Error {
        match self.phase {
            Phase::Lost(_) | Phase::Restoring => Error::Recovering,
            Phase::Open | Phase::Closing => Error::ChannelEnded { channel: self.id },
        }
    }

    /// # Errors
    /// [`Error::Recovering`] while it will be open again; or the bare fact that it has ended.
    #[inline]
    pub(crate) fn check_open(&self) -> Result<()> {
        if self.is_open() { Ok(()) } else { Err(self.refusal()) }
    }

    /// As [`check_open`](Self::check_open), also while it is lost or being restored.
    #[inline]
    pub(crate) fn check_not_closing(&self) -> Result<()> {
        if self.is_closing() { Err(self.refusal()) } else { Ok(()) }
    }

    /// As [`check_open`](Self::check_open), while it is being restored.
    pub(crate) fn check_restoring(&self) -> Result<()> {
        if self.is_restoring() { Ok(()) } else { Err(self.refusal()) }
    }

    /// Whether it cannot be used, but will be again.
    pub(crate) fn is_recovering(&self) -> bool {
        matches!(self.phase, Phase::Lost(_) | Phase::Restoring)
    }

    /// Whether it has ended, for the reason in its status.
    pub(crate) fn has_ended(&self) -> bool {
        self.status.ended.get().is_some()
    }

    /// Gives back what a quiet channel does not need.
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

    /// Why it is waiting to be restored.
    pub(crate) fn lost_for(&self) -> Option<&Error> {
        match &self.phase {
            Phase::Lost(reason) => Some(reason),
            _ => None,
        }
    }

    /// Whether its restoring is under way.
    pub(crate) fn is_restoring(&self) -> bool {
        matches!(self.phase, Phase::Restoring)
    }

    /// Whether there is nothing left to do: no consumer, nothing unacked, nothing unconfirmed.
    pub(crate) fn is_drained(&self) -> bool {
        self.consumers.is_empty()
            && self.acks.is_idle()
            && self.confirms.as_ref().is_none_or(|confirms| confirms.in_flight() == 0)
    }

    pub(crate) fn is_being_cancelled(&self, tag: &ShortString) -> bool {
        let is_asked = |due: &Due| matches!(&due.expects, Expects::Cancel { tag: other } if other == tag);
        self.due.iter().any(is_asked)
    }

    /// The tags of the consumers whose cancel is not answered.
    fn being_cancelled(&self) -> Vec<ShortString> {
        let cancelled = self.due.iter().filter_map(|due| match &due.expects {
            Expects::Cancel { tag } => Some(tag.clone()),
            _ => None,
        });
        cancelled.collect()
    }

    /// Futures that wait for something of the channel, its calls and confirms apart.
    pub(crate) fn waiting(&self) -> usize {
        let waiters = [&self.end_waiters, &self.drain_waiters, &self.window_waiters];
        waiters.into_iter().map(Waiters::len).sum::<usize>()
            + self.confirms.as_ref().map_or(0, Confirms::flushing)
    }

    /// For how long the oldest delivery has been held, when that is over `limit` and was not told
    /// before.
    pub(crate) fn held_too_long(&mut self, now: Instant, limit: Duration) -> Option<Duration> {
        let arrived = self.acks.oldest()?;
        let held = now.saturating_duration_since(arrived);
        if held < limit || self.warned_of == Some(arrived) {
            return None;
        }
        self.warned_of = Some(arrived);
        Some(held)
    }

    /// Something is done that a transaction has to be committed for.
    #[inline]
    pub(crate) fn works(&mut self) {
        if let Some(transaction) = &mut self.transaction {
            transaction.has_work = true;
        }
    }

    /// Whether the transaction is not whole any more: a part of it was on a connection that was
    /// lost.
    pub(crate) fn has_lost_transaction(&self) -> bool {
        self.transaction.as_ref().is_some_and(|transaction| transaction.is_lost)
    }
}
