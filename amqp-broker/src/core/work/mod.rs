//! Operations that take more than a turn.

pub(crate) mod applying;
pub(crate) mod background;
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
    applying::PolicyCursor,
    commit::{Commit, Rollback},
    publishing::Publishing,
    removal::Removal,
    ticket::Ticket,
};
use super::entities::{ids::ChannelId, ready::Ready, unacked::Outcome};

/// What is left to be done of an operation.
#[derive(Debug)]
pub(crate) enum Work {
    /// A message is being published.
    Publish(Box<Publishing>),
    /// The queues of a message in a transaction are being searched for.
    Prepare(Box<Publishing>),
    /// Deliveries up to a tag are being settled.
    Settle {
        channel: ChannelId,
        up_to: u64,
        outcome: Outcome,
    },
    /// Settlements up to a tag are being noted for the commit.
    SettleLater {
        channel: ChannelId,
        up_to: u64,
        outcome: Outcome,
    },
    /// Deliveries of a channel are being requeued.
    Recover {
        channel: ChannelId,
    },
    /// Messages that were purged from the queue of this serial number are being freed.
    Purge {
        serial: u64,
        ready: Box<Ready>,
    },
    Remove(Box<Removal>),
    /// Policies have changed and are being applied.
    ApplyPolicies(PolicyCursor),
    Commit(Box<Commit>),
    Rollback(Box<Rollback>),
    /// These operations run one after the other.
    InOrder(VecDeque<Work>),
}

impl Work {
    /// Its ticket among the transactions that wait, present or past.
    pub(super) fn ticket(&self) -> Option<Ticket> {
        match self {
            Work::Commit(commit) => Some(commit.ticket),
            Work::InOrder(works) => works.front()?.ticket(),
            _ => None,
        }
    }
}
