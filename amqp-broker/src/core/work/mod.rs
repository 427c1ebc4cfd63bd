//! Operations that take more than a turn.

pub(crate) mod commit;
pub(crate) mod publication;
pub(crate) mod publishing;
pub(crate) mod removal;
pub(crate) mod routing;
pub(crate) mod step;
pub(crate) mod ticket;
pub(crate) mod waiting;

use std::collections::VecDeque;

use self::{
    commit::{Commit, Rollback},
    publishing::Publishing,
    removal::Removal,
    ticket::Ticket,
};
use super::entities::{ids::ChannelId, ready::Ready, unacked::Outcome};

/// What is left to be done of an operation.
#[derive(Debug)]
pub(crate) enum Work {
    /// A message goes to its queues.
    Publish(Box<Publishing>),
    /// The queues are looked for to which a message goes when its transaction is committed.
    Prepare(Box<Publishing>),
    /// Deliveries up to a tag are settled.
    Settle {
        channel: ChannelId,
        up_to: u64,
        outcome: Outcome,
    },
    /// Deliveries up to a tag are settled when the transaction is committed.
    SettleLater {
        channel: ChannelId,
        up_to: u64,
        outcome: Outcome,
    },
    /// Deliveries of a channel return to their queues.
    Recover {
        channel: ChannelId,
    },
    /// Messages that have left the queue of this serial number are forgotten.
    Purge {
        serial: u64,
        ready: Box<Ready>,
    },
    Remove(Box<Removal>),
    Commit(Box<Commit>),
    Rollback(Box<Rollback>),
    /// One after the other.
    InOrder(VecDeque<Work>),
}

impl Work {
    /// The place it has, or had, among the transactions that wait for others.
    pub(super) fn ticket(&self) -> Option<Ticket> {
        match self {
            Work::Commit(commit) => Some(commit.ticket),
            Work::InOrder(works) => works.front()?.ticket(),
            _ => None,
        }
    }
}
