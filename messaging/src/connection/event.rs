//! The events of a transport's connections, for listeners.

use std::sync::Arc;

use amqp_client::{Event, Events};
use tokio::{
    sync::broadcast::{self, error::RecvError},
    task::JoinHandle,
};

use crate::{
    connection::{history::History, state::Role},
    sync::Mutex,
    telemetry::observer::Observer,
};

/// Something that happened to a connection of a transport.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConnectionEvent {
    /// The connection.
    pub connection: Role,
    /// The event.
    pub event: Event,
}

/// Events of a transport's connections as they happen; see
/// [`Transport::events`](crate::Transport::events).
///
/// The transport does not wait for a listener: up to 256 events are kept, and then the oldest are
/// dropped.
#[derive(Debug)]
pub struct ConnectionEvents {
    /// The channel of events; `None` stands for the end.
    receiver: broadcast::Receiver<Option<ConnectionEvent>>,
    is_over: bool,
}

impl ConnectionEvents {
    /// Returns the next event; `None` after the last event of a closed transport, or when the
    /// transport and everything made from it were dropped.
    ///
    /// # Cancel safety
    /// No event is lost when the future is dropped while pending.
    pub async fn recv(&mut self) -> Option<ConnectionEvent> {
        while !self.is_over {
            match self.receiver.recv().await {
                Ok(Some(event)) => return Some(event),
                Err(RecvError::Lagged(_)) => {}
                Ok(None) | Err(RecvError::Closed) => self.is_over = true,
            }
        }
        None
    }
}

/// The number of events that are kept for a slow listener.
const KEPT: usize = 256;

/// Sends events to the listeners, and to what observes the transport.
#[derive(Clone)]
pub(crate) struct Teller {
    sender: broadcast::Sender<Option<ConnectionEvent>>,
    observer: Observer,
}

impl Teller {
    pub(crate) fn new(observer: Observer) -> Self {
        Teller { sender: broadcast::Sender::new(KEPT), observer }
    }

    /// Returns a listener to events from now on; it gets none if the transport is closed.
    pub(crate) fn listen(&self, is_over: bool) -> ConnectionEvents {
        ConnectionEvents { receiver: self.sender.subscribe(), is_over }
    }

    pub(crate) fn tell(&self, connection: Role, event: Event) {
        // An error means that there is no listener.
        let _ = self.sender.send(Some(ConnectionEvent { connection, event }));
    }

    /// Forwards all events of a connection, up to its last, and notes them in its history.
    pub(crate) fn follow(
        &self,
        connection: Role,
        history: Arc<Mutex<History>>,
        mut events: Events,
    ) -> JoinHandle<()> {
        let teller = self.clone();
        let mut observed = self.observer.connection(connection.name());
        tokio::spawn(async move {
            while let Some(event) = events.recv().await {
                observed.event(&event);
                history.lock().event(&event);
                teller.tell(connection, event);
            }
        })
    }

    /// Notes that a connection was opened in place of one that had ended.
    pub(crate) fn reopened(&self, connection: Role) {
        self.observer.reconnected(connection.name());
    }

    /// Ends all listeners.
    pub(crate) fn end(&self) {
        let _ = self.sender.send(None);
    }
}
