//! Transactions that wait for others: to begin, or to be written with them.

use std::collections::BTreeMap;

use super::{Work, ticket::Ticket};
use crate::core::{
    entities::ids::ConnectionId,
    journal::{groups::Groups, kept::Kept},
};

/// The waiting transactions, each with the connection to wake. Those that wait to begin do so in
/// the order of their arrival.
#[derive(Debug, Default)]
pub(crate) struct WaitingTransactions {
    last: Ticket,
    to_begin: BTreeMap<Ticket, ConnectionId>,
    /// The transactions that wait to be written, with their group.
    to_be_written: BTreeMap<Ticket, (Kept, ConnectionId)>,
    /// The remaining work of those whose connection is gone.
    left_behind: BTreeMap<Ticket, Work>,
}

/// What a finished wait continues: a connection or background work.
pub(crate) enum Woken {
    Connection(ConnectionId),
    LeftBehind(Work),
}

impl WaitingTransactions {
    /// Tells whether a transaction with this ticket waits.
    #[inline]
    pub(crate) fn has(&self, ticket: Ticket) -> bool {
        self.to_begin.contains_key(&ticket) || self.to_be_written.contains_key(&ticket)
    }

    /// Tells whether others wait to begin already.
    pub(crate) fn is_anybody_to_begin(&self) -> bool {
        !self.to_begin.is_empty()
    }

    /// Makes a transaction wait to begin, with its former ticket if it had one; returns its ticket.
    pub(crate) fn begin(&mut self, ticket: Ticket, wakes: ConnectionId) -> Ticket {
        let ticket = self.place(ticket);
        self.to_begin.insert(ticket, wakes);
        ticket
    }

    /// Makes a transaction wait to be written with others; returns its ticket.
    pub(crate) fn be_written(&mut self, with: Kept, wakes: ConnectionId) -> Ticket {
        let ticket = self.place(Ticket::NONE);
        self.to_be_written.insert(ticket, (with, wakes));
        ticket
    }

    fn place(&mut self, ticket: Ticket) -> Ticket {
        if ticket != Ticket::NONE {
            return ticket;
        }
        self.last = self.last.next();
        self.last
    }

    /// Takes over the work of a waiting transaction whose connection is gone.
    pub(crate) fn leave_behind(&mut self, ticket: Ticket, work: Work) {
        self.left_behind.insert(ticket, work);
    }

    /// Notes that a group was written; returns all who waited for it, and as many of those who wait
    /// to begin as may.
    pub(crate) fn wake(&mut self, groups: &Groups) -> Vec<Woken> {
        let written = self.to_be_written.extract_if(.., |_, (with, _)| !groups.is_open(*with));
        let mut woken: Vec<_> = written.map(|(ticket, (_, wakes))| (ticket, wakes)).collect();
        woken.extend((0..groups.room()).map_while(|_| self.to_begin.pop_first()));
        let goes_on = |(ticket, wakes): (Ticket, ConnectionId)| match self.left_behind.remove(&ticket) {
            Some(work) => Woken::LeftBehind(work),
            None => Woken::Connection(wakes),
        };
        woken.into_iter().map(goes_on).collect()
    }
}
