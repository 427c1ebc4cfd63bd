//! Celery's remote control: what its commands, nodes and events share.

use std::fmt;

use amqp_client::Exchange;

use crate::{error::Error, mailbox::Mailbox, transport::Transport};

/// The default of Celery's `event_exchange`.
const EVENT_EXCHANGE: &str = "celeryev";

/// Celery's remote control of a namespace. [`Transport::celery`] makes it. Cloning gives another
/// handle to it.
///
/// Its methods return commands; see [`CeleryCommand`](crate::celery::CeleryCommand) for whom they
/// are sent to and how their answers are waited for. [`node`](Self::node) makes a node that answers
/// such commands, and [`events`](Self::events) receives the events of workers.
#[derive(Clone)]
pub struct Control {
    pub(super) transport: Transport,
    pub(super) mailbox: Mailbox,
    pub(super) event_exchange: String,
}

impl Control {
    /// Returns the remote control of a mailbox on this transport, for those whose Celery has other
    /// settings than the default ones. Celery's mailboxes are of [`Kind::Fanout`].
    ///
    /// [`Kind::Fanout`]: crate::mailbox::Kind::Fanout
    #[must_use]
    pub fn new(transport: &Transport, mailbox: Mailbox) -> Self {
        Control { transport: transport.clone(), mailbox, event_exchange: EVENT_EXCHANGE.to_owned() }
    }

    /// Sets the name of the exchange of events, Celery's `event_exchange`; default `celeryev`.
    #[must_use]
    pub fn event_exchange(mut self, name: impl Into<String>) -> Self {
        self.event_exchange = name.into();
        self
    }

    /// Returns the exchange of events: a topic exchange, and on a Redis a fanout exchange, as in
    /// Celery. To know that, it connects.
    pub(super) async fn events_exchange(&self) -> Result<Exchange, Error> {
        let kind = if self.transport.is_on_redis().await? { Exchange::fanout } else { Exchange::topic };
        Ok(kind(&self.event_exchange).durable(true))
    }

    /// Returns its mailbox, for commands that have no method here.
    #[must_use]
    pub fn mailbox(&self) -> &Mailbox {
        &self.mailbox
    }
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control").field("mailbox", &self.mailbox).finish_non_exhaustive()
    }
}
