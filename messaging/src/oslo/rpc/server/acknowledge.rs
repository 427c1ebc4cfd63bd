//! When requests are acknowledged, and which of them are known already.

use std::{collections::HashMap, hash::BuildHasherDefault};

use amqp_client::Acker;

use crate::oslo::wire::{
    duplicates::{Duplicates, RepeatWindow},
    fingerprint::Fingerprint,
    id::IdHasher,
};

/// When a server acknowledges a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Acknowledge {
    /// Before its method runs, as oslo.messaging does: a server that crashes loses what it was
    /// running, and nothing runs twice.
    #[default]
    Before,
    /// When its method has run and the reply has left: what a server that crashes was running is
    /// run again, by itself or another. Methods may thus run twice. A method that fails has run.
    After,
}

/// The requests a server knows.
#[derive(Debug, Default)]
pub(crate) struct KnownRequests {
    ran: Duplicates,
    /// Those that run now, by their ids, with what acknowledges them when they have: the same one
    /// again when the connection was lost meanwhile.
    running: HashMap<Fingerprint, Vec<Acker>, BuildHasherDefault<IdHasher>>,
}

/// What is to become of a request that arrived.
#[derive(Debug)]
pub(crate) enum Arrival {
    /// It runs.
    New,
    /// It runs already, and is acknowledged then.
    Running,
    /// It ran before, and is acknowledged at once.
    Ran(Acker),
}

impl KnownRequests {
    pub(crate) fn new(window: RepeatWindow) -> Self {
        KnownRequests { ran: Duplicates::new(window), ..KnownRequests::default() }
    }

    /// Whether it was here before. It counts as having run from now on.
    pub(crate) fn is_repeated(&mut self, id: Fingerprint) -> bool {
        self.ran.is_repeated(id)
    }

    pub(crate) fn begin(&mut self, id: Fingerprint, acker: Acker) -> Arrival {
        if let Some(ackers) = self.running.get_mut(&id) {
            ackers.push(acker);
            return Arrival::Running;
        }
        if self.ran.contains(id) {
            return Arrival::Ran(acker);
        }
        self.running.insert(id, vec![acker]);
        Arrival::New
    }

    /// It has run; what to acknowledge.
    pub(crate) fn end(&mut self, id: Fingerprint) -> Vec<Acker> {
        self.ran.is_repeated(id);
        self.running.remove(&id).unwrap_or_default()
    }
}
