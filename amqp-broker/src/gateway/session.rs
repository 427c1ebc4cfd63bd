//! A connection of a gateway: its state, and what all of its parts ask of that. The parts are the
//! files beside this one.

use std::{collections::BTreeMap, sync::Arc};

use amqp_codec::{Arguments, Properties, ShortString};

use crate::{
    backend::{Link, Message, Settlement, Wakes},
    core::rabbitmq::{
        access::{Access, Act},
        refusal::Refusal,
    },
};

use super::{channel::Channel, consumers::Consumers, fault::Fault, output::Output, registry::Registry};

/// The terms agreed with the client.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    pub(crate) channel_max: u16,
    pub(crate) frame_max: usize,
    pub(crate) max_message_size: u64,
    pub(crate) access: Access,
    /// Set when the client wants to be told when a consumer ends with its queue.
    pub(crate) cancel_notify: bool,
    /// The connection's name in the log.
    pub(crate) name: String,
}

/// The phase of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Running,
    /// The broker has sent a close that is not answered yet. Everything else is ignored.
    Closing,
    /// It has ended, and nothing more is read.
    Finished,
    /// The client has closed it and was answered. Further input is ignored.
    Left,
}

/// A publish that was read and is not stored yet.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) channel: u16,
    pub(crate) mandatory: bool,
    pub(crate) message: Message,
}

/// An open connection in front of a backend.
pub(crate) struct Session<L: Link> {
    pub(crate) link: L,
    pub(crate) wakes: Wakes,
    pub(crate) terms: Terms,
    pub(crate) registry: Arc<Registry>,
    /// The connection's number in the registry.
    pub(crate) number: u64,
    pub(crate) phase: Phase,
    /// The close that ended it, and the side that sent it.
    pub(crate) why: Option<String>,
    pub(crate) output: Output,
    pub(crate) channels: BTreeMap<u16, Channel<L::Claim>>,
    pub(crate) consumers: Consumers,
    /// The publishes that were read and are not stored yet, and how many octets their bodies have.
    pub(crate) pending: Vec<Pending>,
    pub(crate) pending_octets: usize,
    /// The settlements that were read and are not passed on yet.
    pub(crate) settled: Vec<(L::Claim, Settlement)>,
}

impl<L: Link> Session<L> {
    pub(crate) fn new(link: L, wakes: Wakes, terms: Terms, registry: Arc<Registry>) -> Self {
        let order = link.queue_order();
        Session {
            link,
            wakes,
            number: registry.enter(),
            registry,
            phase: Phase::Running,
            why: None,
            output: Output::new(terms.frame_max),
            terms,
            channels: BTreeMap::new(),
            consumers: Consumers::new(order),
            pending: Vec::new(),
            pending_octets: 0,
            settled: Vec::new(),
        }
    }

    /// The channel of this number, if it is open and not closing.
    pub(crate) fn channel(&mut self, number: u16) -> Option<&mut Channel<L::Claim>> {
        self.channels.get_mut(&number).filter(|channel| !channel.is_closing)
    }

    /// Answers a method, unless the client does not wait for it.
    pub(crate) fn answer<A: Arguments>(&mut self, number: u16, no_wait: bool, answer: &A) {
        if !no_wait {
            self.output.method(number, answer);
        }
    }

    /// Checks that the user may do this to the entity.
    pub(crate) fn permit(&self, act: Act, what: &'static str, name: &str) -> Result<(), Fault> {
        let access = &self.terms.access;
        if access.allows(act, name.as_bytes()) {
            return Ok(());
        }
        let (name, vhost) = (name.to_owned(), self.registry.vhost().to_owned());
        Err(Refusal::Forbidden { act: None, what, name, vhost, user: access.user.clone() }.into())
    }

    /// Checks that the user may do this with a routing key of an exchange. The backend knows the
    /// types of exchanges, so what is said of an exchange holds whatever its type is.
    pub(crate) fn permit_topic(&self, act: Act, exchange: &str, key: &ShortString) -> Result<(), Fault> {
        let access = &self.terms.access;
        if access.allows_topic(act, exchange.as_bytes(), key.as_bytes()) {
            return Ok(());
        }
        let (key, exchange) = (key.to_string(), exchange.to_owned());
        let (vhost, user) = (self.registry.vhost().to_owned(), access.user.clone());
        Err(Refusal::ForbiddenTopic { act: None, key, exchange, vhost, user }.into())
    }

    /// Sends a message of a queue. One whose properties do not fit into a frame is logged and not
    /// sent; it stays unsettled until the channel ends.
    pub(crate) fn send_content<A: Arguments>(
        &mut self,
        number: u16,
        method: &A,
        (properties, body): (&Properties, &bytes::Bytes),
    ) {
        if let Err(error) = self.output.content(number, method, properties, body) {
            let connection = &self.terms.name;
            tracing::warn!(connection, channel = number, %error, "a message could not be sent");
        }
    }
}

/// A name as text.
///
/// # Errors
/// When it is not UTF-8, as the names of backends are.
pub(crate) fn text(name: &ShortString) -> Result<String, Fault> {
    let no_text = |_| Refusal::NotImplemented("a name that is not UTF-8".to_owned());
    name.as_str().map(str::to_owned).map_err(|error| no_text(error).into())
}
