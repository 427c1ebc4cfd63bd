//! Where a broker listens.

use std::{net::SocketAddr, sync::Arc};

use crate::sync::Mutex;

/// The addresses where a broker listens, each with RabbitMQ's name of the protocol.
#[derive(Clone, Debug, Default)]
pub(crate) struct Listening(Arc<Mutex<Vec<(SocketAddr, &'static str)>>>);

/// A listener among those of a broker.
///
/// # On drop
/// It is none of them any more.
pub(crate) struct Listens {
    at: SocketAddr,
    among: Listening,
}

impl Listening {
    /// Notes that a listener begins, and is there as long as what is returned.
    pub(crate) fn begin(&self, at: SocketAddr, protocol: &'static str) -> Listens {
        self.0.lock().push((at, protocol));
        Listens { at, among: self.clone() }
    }

    /// All of them.
    pub(crate) fn all(&self) -> Vec<(SocketAddr, &'static str)> {
        self.0.lock().clone()
    }
}

impl Drop for Listens {
    fn drop(&mut self) {
        self.among.0.lock().retain(|(at, _)| *at != self.at);
    }
}
