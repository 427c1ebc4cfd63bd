//! What the nodes and callers of a namespace share: its entities, clock and counts.

use std::time::Duration;

use amqp_client::{Exchange, Queue, Value as HeaderValue};
use serde_json::{Map, Value};

use crate::{
    error::Error,
    mailbox::namespace::{
        clock::{self, Clock, Received},
        log_limit::Logs,
        metrics::Counters,
        peers::Peers,
        wire,
    },
    publish::{options::PublishOptions, producer::Producer},
    retry::RetryPolicy,
    serialize::Serializers,
    transport::Transport,
};

/// How long a reply is retried. A caller that waits longer is rare, and its reply queue expires.
const REPLY_DEADLINE: Duration = Duration::from_secs(10);

/// The type of the exchange for commands. Every node's queue is bound with an empty routing key,
/// and commands are published with one, so that both types send each command to all nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// kombu's default.
    #[default]
    Direct,
    /// As Celery has it.
    Fanout,
}

#[derive(Clone)]
pub(crate) struct Settings {
    pub(super) queue_ttl: Option<Duration>,
    pub(super) queue_expires: Option<Duration>,
    pub(crate) queue_exclusive: bool,
    pub(super) reply_queue_ttl: Option<Duration>,
    pub(super) reply_queue_expires: Option<Duration>,
    pub(super) serializer: String,
    pub(crate) serializers: Serializers,
    pub(crate) max_message_size: u64,
}

/// A namespace on a transport.
pub(crate) struct Namespace {
    pub(crate) transport: Transport,
    pub(crate) name: String,
    pub(crate) settings: Settings,
    pub(crate) exchange: Exchange,
    pub(crate) reply_exchange: Exchange,
    pub(crate) commands: Producer,
    replies: Producer,
    pub(crate) clock: Clock,
    pub(crate) counters: Counters,
    pub(crate) logs: Logs,
    /// The peers whose clock was refused.
    pub(crate) wrong_clocks: Peers,
}

impl Namespace {
    pub(super) fn new(transport: Transport, name: String, kind: Kind, settings: Settings) -> Self {
        let exchange_name = format!("{name}.pidbox");
        let exchange = match kind {
            Kind::Direct => Exchange::direct(exchange_name),
            Kind::Fanout => Exchange::fanout(exchange_name),
        };
        let reply_exchange = Exchange::direct(format!("reply.{name}.pidbox"));
        let with_serializers = |exchange: &Exchange| {
            transport.producer(exchange.clone()).serializers(settings.serializers.clone())
        };
        Namespace {
            commands: with_serializers(&exchange),
            replies: with_serializers(&reply_exchange).retry(RetryPolicy::default().deadline(REPLY_DEADLINE)),
            exchange,
            reply_exchange,
            transport,
            name,
            settings,
            clock: Clock::default(),
            counters: Counters::default(),
            logs: Logs::default(),
            wrong_clocks: Peers::default(),
        }
    }

    /// Advances the clock beyond a time that a peer wrote into a body, unless that is no time or
    /// too far ahead.
    pub(crate) fn receive_time(&self, time: Option<&Value>) {
        let time = time.and_then(Value::as_u64);
        self.clock.receive(time.map_or(Received::Malformed, Received::Time));
    }

    /// Publishes a reply.
    pub(crate) async fn reply(
        &self,
        routing_key: &str,
        ticket: Option<&str>,
        body: &Map<String, Value>,
    ) -> Result<(), Error> {
        let ticket = ticket.map_or(HeaderValue::Void, |ticket| ticket.to_owned().into());
        let time = clock::header_value(self.clock.tick());
        let options = self.options().transient().header(wire::TICKET, ticket)?;
        let options = options.header(clock::HEADER, time)?;
        self.replies.ensure_publish((routing_key, &options), body).await.map(drop)
    }

    /// Returns the queue of a node.
    pub(crate) fn node_queue(&self, node: &str) -> Queue {
        let queue = Queue::new(format!("{node}.{}.pidbox", self.name));
        let Settings { queue_ttl, queue_expires, .. } = self.settings;
        self.transient(queue, queue_ttl, queue_expires)
    }

    /// Returns the queue for the replies with this routing key.
    pub(crate) fn reply_queue(&self, routing_key: &str) -> Queue {
        let queue = Queue::new(format!("{routing_key}.reply.{}.pidbox", self.name));
        let Settings { reply_queue_ttl, reply_queue_expires, .. } = self.settings;
        self.transient(queue, reply_queue_ttl, reply_queue_expires)
    }

    fn transient(&self, queue: Queue, ttl: Option<Duration>, expires: Option<Duration>) -> Queue {
        let queue = queue.exclusive(self.settings.queue_exclusive).auto_delete(true);
        let queue = expires.into_iter().fold(queue, Queue::expires);
        ttl.into_iter().fold(queue, Queue::message_ttl)
    }

    /// Returns the options of a message of this mailbox.
    pub(crate) fn options(&self) -> PublishOptions {
        PublishOptions::new().serializer(&self.settings.serializer)
    }
}
