//! Operations that nobody waits for.

use std::collections::VecDeque;

use super::{
    Work,
    waiting::{WaitingTransactions, Woken},
};
use crate::core::{effects::sink::Sink, journal::groups::Groups};

/// The operations that continue though nobody waits for them, and the transactions that wait for
/// others.
#[derive(Debug, Default)]
pub(crate) struct BackgroundWork {
    /// The operations that may continue, each in its turn.
    ready: VecDeque<Work>,
    pub(crate) waiting: WaitingTransactions,
}

impl BackgroundWork {
    /// Continues an operation in the background, because the connection that began it is gone: when
    /// its turn comes, or when the transactions that it waits for are done.
    pub(crate) fn abandon(&mut self, work: Work) {
        match work.ticket().filter(|ticket| self.waiting.has(*ticket)) {
            Some(ticket) => self.waiting.leave_behind(ticket, work),
            None => self.ready.push_back(work),
        }
    }

    /// Tells whether an operation waits for other transactions: until its connection is woken,
    /// there is nothing to do.
    pub(crate) fn waits(&self, work: &Work) -> bool {
        work.ticket().is_some_and(|ticket| self.waiting.has(ticket))
    }

    /// Takes the operation whose turn it is.
    pub(crate) fn next(&mut self) -> Option<Work> {
        self.ready.pop_front()
    }

    /// Tells whether no operation may continue.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.ready.is_empty()
    }

    /// Notes that a group was written: wakes the connections that waited for it, and those that may
    /// begin now.
    pub(crate) fn wake(&mut self, groups: &Groups, sink: &mut impl Sink) {
        for woken in self.waiting.wake(groups) {
            match woken {
                Woken::Connection(id) => sink.wake(id),
                Woken::LeftBehind(work) => self.ready.push_back(work),
            }
        }
    }
}
