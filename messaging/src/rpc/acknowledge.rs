//! When requests are acknowledged, and which of them are known already.

use std::collections::HashMap;

use amqp_client::Delivery;

use crate::duplicates::{Duplicates, RepeatWindow};

/// When a server acknowledges a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Acknowledge {
    /// Before its method runs, as oslo.messaging does: a server that crashes loses what it was running, and nothing runs twice.
    #[default]
    Before,
    /// When its method has run and the reply has left: what a server that crashes was running is run again, by itself or another.
    /// Methods may thus run twice. A method that fails has run.
    After,
}

/// The requests a server knows.
#[derive(Debug, Default)]
pub(crate) struct Known {
    ran: Duplicates,
    /// Those that run now, by their ids, with the deliveries to acknowledge when they have: the same one again when the connection
    /// was lost meanwhile.
    running: HashMap<String, Vec<Delivery>>,
}

/// What is to become of a request that arrived.
#[derive(Debug)]
pub(crate) enum Arrival {
    /// It runs.
    New,
    /// It runs already, and is acknowledged then.
    Running,
    /// It ran before, and is acknowledged at once.
    Ran(Delivery),
}

impl Known {
    pub(crate) fn new(window: RepeatWindow) -> Self {
        Known { ran: Duplicates::new(window), ..Known::default() }
    }

    /// Whether it was here before. It counts as having run from now on.
    pub(crate) fn is_repeated(&mut self, id: &str) -> bool {
        self.ran.is_repeated(id)
    }

    pub(crate) fn begin(&mut self, id: &str, delivery: Delivery) -> Arrival {
        if let Some(deliveries) = self.running.get_mut(id) {
            deliveries.push(delivery);
            return Arrival::Running;
        }
        if self.ran.contains(id) {
            return Arrival::Ran(delivery);
        }
        self.running.insert(id.to_owned(), vec![delivery]);
        Arrival::New
    }

    /// It has run; what to acknowledge.
    pub(crate) fn end(&mut self, id: &str) -> Vec<Delivery> {
        self.ran.is_repeated(id);
        self.running.remove(id).unwrap_or_default()
    }
}
