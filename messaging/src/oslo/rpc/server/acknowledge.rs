//! When requests are acknowledged, and which of them are known already.

use std::{collections::HashMap, hash::BuildHasherDefault};

use crate::{
    consume::settle::acker::Acker,
    oslo::wire::{
        duplicates::{Duplicates, RepeatWindow},
        fingerprint::Fingerprint,
        id::IdHasher,
    },
};

/// The time at which a server acknowledges a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Acknowledge {
    /// Before its method runs, as oslo.messaging does: a server that crashes loses the requests in
    /// progress, and no method runs twice.
    #[default]
    Before,
    /// After its method has run and the reply was sent: requests in progress are run again after a
    /// crash, by this server or another. Methods may thus run twice. A method that fails counts as
    /// run.
    After,
}

/// The requests that a server knows.
#[derive(Debug, Default)]
pub(crate) struct KnownRequests {
    ran: Duplicates,
    /// The requests in progress by their ids, with what acknowledges them afterwards. There are
    /// several deliveries of a request if the connection was lost meanwhile.
    running: HashMap<Fingerprint, Vec<Acker>, BuildHasherDefault<IdHasher>>,
}

/// What to do with a request that arrived.
#[derive(Debug)]
pub(crate) enum Arrival {
    /// The request is to run.
    New,
    /// The request is running already, and is acknowledged when that has ended.
    Running,
    /// The request ran before, and is acknowledged at once.
    Ran(Acker),
}

impl KnownRequests {
    pub(crate) fn new(window: RepeatWindow) -> Self {
        KnownRequests { ran: Duplicates::new(window), ..KnownRequests::default() }
    }

    /// Whether the request was received before. From now on it counts as having run.
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

    /// Notes that a request has run; returns what to acknowledge.
    pub(crate) fn end(&mut self, id: Fingerprint) -> Vec<Acker> {
        self.ran.is_repeated(id);
        self.running.remove(&id).unwrap_or_default()
    }
}
