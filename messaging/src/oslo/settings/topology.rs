//! The entities of RPC and notifications. Names, flags and arguments are exactly oslo.messaging's,
//! because both sides of a system declare them, and a broker refuses a declaration that differs.

use std::time::Duration;

use amqp_client::{ConsumeOptions, Exchange, Queue, StreamOffset};
use amqp_codec::Value;

use crate::{
    error::{Error, conflict::Conflict},
    oslo::wire::{
        id::Id,
        target::{CONTROL_EXCHANGE, Target},
    },
    sync::atomic::{AtomicU64, Ordering},
};

/// How the entities of RPC and notifications are declared. All parts of a system must agree on it.
///
/// Default, as in Python: nothing is durable, nothing is auto-deleted, and queues that belong to
/// one process expire 30 minutes after it is gone.
///
/// ```
/// use messaging::{Quorum, Topology};
///
/// // rabbit_quorum_queue, rabbit_quorum_delivery_limit, rabbit_transient_quorum_queue
/// let topology = Topology::new().quorum(Quorum::new().delivery_limit(3)).transient_quorum(true);
/// # let _ = topology;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topology {
    durable: bool,
    auto_delete: bool,
    quorum: Option<Quorum>,
    transient_quorum: bool,
    stream_fanout: bool,
    mirrored: bool,
    cancel_on_failover: bool,
    transient_ttl: Duration,
    process: Option<String>,
    scoped: bool,
    control_exchange: Option<String>,
    stream_start: StreamStart,
    durable_fallback: bool,
    found: Found,
}

/// The actual durability of existing entities that a declaration conflicted with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Found {
    exchange: Option<bool>,
    request_queues: Option<bool>,
    fanout_exchange: Option<bool>,
}

/// Where a server begins to read a [stream of fanouts](Topology::stream_fanout). After a lost
/// connection it continues after the message that it read last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum StreamStart {
    /// The server begins with the messages sent from then on: nothing runs twice.
    #[default]
    Next,
    /// The server begins with the last message sent before, as Python's servers do: a server that
    /// restarts runs that one again.
    Last,
}

/// Limits of quorum queues; by default there are none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quorum {
    delivery_limit: u32,
    memory_length: u32,
    memory_bytes: u64,
}

impl Quorum {
    /// Returns settings without limits.
    #[must_use]
    pub const fn new() -> Self {
        Quorum { delivery_limit: 0, memory_length: 0, memory_bytes: 0 }
    }

    /// Sets how often a message is delivered before it is dropped: `rabbit_quorum_delivery_limit`;
    /// 0 means no limit.
    #[must_use]
    pub const fn delivery_limit(mut self, deliveries: u32) -> Self {
        self.delivery_limit = deliveries;
        self
    }

    /// Sets how many messages are kept in memory: `rabbit_quorum_max_memory_length`; 0 means no
    /// limit.
    #[must_use]
    pub const fn memory_length(mut self, messages: u32) -> Self {
        self.memory_length = messages;
        self
    }

    /// Sets how many bytes of messages are kept in memory: `rabbit_quorum_max_memory_bytes`; 0
    /// means no limit.
    #[must_use]
    pub const fn memory_bytes(mut self, bytes: u64) -> Self {
        self.memory_bytes = bytes;
        self
    }

    fn declare(self, queue: Queue) -> Queue {
        let mut queue = with(queue, "x-queue-type", "quorum");
        let limits = [
            ("x-delivery-limit", u64::from(self.delivery_limit)),
            ("x-max-in-memory-length", u64::from(self.memory_length)),
            ("x-max-in-memory-bytes", self.memory_bytes),
        ];
        for (argument, limit) in limits.into_iter().filter(|(_, limit)| *limit > 0) {
            queue = with(queue, argument, i64::try_from(limit).unwrap_or(i64::MAX));
        }
        queue
    }
}

impl Topology {
    /// Returns the topology that Python declares by default.
    #[must_use]
    pub const fn new() -> Self {
        Topology {
            durable: false,
            auto_delete: false,
            quorum: None,
            transient_quorum: false,
            stream_fanout: false,
            mirrored: false,
            cancel_on_failover: false,
            transient_ttl: Duration::from_secs(1800),
            process: None,
            scoped: false,
            control_exchange: None,
            stream_start: StreamStart::Next,
            durable_fallback: false,
            found: Found { exchange: None, request_queues: None, fanout_exchange: None },
        }
    }

    /// Sets whether exchanges and shared queues survive a restart of the broker:
    /// `amqp_durable_queues`; default false.
    #[must_use]
    pub const fn durable(mut self, durable: bool) -> Self {
        self.durable = durable;
        self
    }

    /// Sets whether exchanges and shared queues are deleted after their last use:
    /// `amqp_auto_delete`; default false.
    #[must_use]
    pub const fn auto_delete(mut self, auto_delete: bool) -> Self {
        self.auto_delete = auto_delete;
        self
    }

    /// Makes shared queues replicated, and durable with their exchanges: `rabbit_quorum_queue`. The
    /// limits apply to [`transient_quorum`](Self::transient_quorum) too. Default: classic queues.
    #[must_use]
    pub const fn quorum(mut self, limits: Quorum) -> Self {
        self.quorum = Some(limits);
        self
    }

    /// Sets whether the queues of one process are replicated, and durable with their exchange:
    /// `rabbit_transient_quorum_queue`; default false.
    #[must_use]
    pub const fn transient_quorum(mut self, quorum: bool) -> Self {
        self.transient_quorum = quorum;
        self
    }

    /// Sets whether the servers of a topic read fanouts, which go to all of them, from one stream:
    /// `rabbit_stream_fanout`; default false. As in Python it requires
    /// [`transient_quorum`](Self::transient_quorum), and turns that on. See
    /// [`stream_start`](Self::stream_start).
    #[must_use]
    pub const fn stream_fanout(mut self, stream: bool) -> Self {
        self.stream_fanout = stream;
        self
    }

    /// Sets where a server begins to read the stream of fanouts; default [`StreamStart::Next`],
    /// while Python's servers begin with the last message.
    #[must_use]
    pub const fn stream_start(mut self, start: StreamStart) -> Self {
        self.stream_start = start;
        self
    }

    /// Sets the exchange of targets that name none: `control_exchange`; default `openstack`.
    #[must_use]
    pub fn control_exchange(mut self, name: impl Into<String>) -> Self {
        self.control_exchange = Some(name.into());
        self
    }

    /// Sets whether all classic queues ask to be mirrored: `rabbit_ha_queues`; default false.
    /// RabbitMQ ignores the argument since 3.0, but compares it.
    #[must_use]
    pub const fn mirrored(mut self, mirrored: bool) -> Self {
        self.mirrored = mirrored;
        self
    }

    /// Sets whether consumers are cancelled when a queue moves to another node, and begin again:
    /// `enable_cancel_on_failover`; default false.
    #[must_use]
    pub const fn cancel_on_failover(mut self, cancel: bool) -> Self {
        self.cancel_on_failover = cancel;
        self
    }

    /// Sets how long the queues of one process stay after it is gone, and messages stay in the
    /// stream of fanouts: `rabbit_transient_queues_ttl`, in whole milliseconds, or whole seconds
    /// for the stream; zero means without limit; default 30 minutes.
    #[must_use]
    pub const fn transient_ttl(mut self, ttl: Duration) -> Self {
        self.transient_ttl = ttl;
        self
    }

    /// Names the queues of this process after its host, its own name and a number:
    /// `use_queue_manager`, `hostname`, `processname`. A process that restarts finds them as it
    /// left them. No other process may have the same names. Default: unique ids.
    #[must_use]
    pub fn process(mut self, host: &str, process: &str) -> Self {
        self.process = Some(format!("{host}:{process}"));
        self
    }

    /// Sets whether the queues and the fanout exchange of RPC have the name of their exchange as a
    /// prefix, so that two services with one topic in two exchanges do not get each other's
    /// requests. Default false, as in Python, whose servers do not know these names. All servers
    /// and clients of a topic have to agree.
    #[must_use]
    pub const fn scoped(mut self, scoped: bool) -> Self {
        self.scoped = scoped;
        self
    }

    /// Sets whether existing entities of RPC that are not durable are used as they are although
    /// durable ones were wanted, as Python does. Default false: they are a
    /// [`Conflict`](crate::Conflict). This does not apply to quorum queues and streams.
    #[must_use]
    pub const fn durable_fallback(mut self, fallback: bool) -> Self {
        self.durable_fallback = fallback;
        self
    }

    /// Returns the topology for a target whose entities turn out to exist with another durability
    /// than wanted.
    pub(crate) fn fallback(&self, error: &Error, target: &Target) -> Option<Self> {
        let conflict = conflict(error)?;
        let is_fanout = conflict.kind == "exchange" && conflict.name == self.fanout_name(target);
        let wanted = if is_fanout { self.transient_is_durable() } else { self.shared_is_durable() };
        if !(self.durable_fallback && wanted) {
            return None;
        }
        let mut found = self.found;
        let declared = match conflict.kind {
            _ if is_fanout => found.fanout_exchange,
            "exchange" => found.exchange,
            _ => found.request_queues,
        };
        let exists = Some(match conflict.argument.as_str() {
            "durable" => conflict.existing == "true",
            // This property may be the one that differs: another attempt shows it.
            "" => !declared.unwrap_or(wanted),
            _ => return None,
        });
        match conflict.kind {
            _ if is_fanout => found.fanout_exchange = exists,
            "exchange" => {
                found.exchange = exists;
                // Python's servers do the same: they would not accept a durable queue.
                found.request_queues = found.request_queues.or(exists);
            }
            _ => found.request_queues = exists,
        }
        if self.quorum.is_some() {
            found.request_queues = None;
        }
        (found != self.found).then(|| Topology { found, ..self.clone() })
    }

    /// Returns the exchange of notifications, and of requests unless another durability was found.
    pub(crate) fn exchange(&self, name: &str) -> Exchange {
        Exchange::topic(name).durable(self.shared_is_durable()).auto_delete(self.auto_delete)
    }

    /// Returns the name of the default exchange of targets.
    pub(crate) fn control_exchange_name(&self) -> &str {
        self.control_exchange.as_deref().unwrap_or(CONTROL_EXCHANGE)
    }

    /// Returns the exchange of a target's requests.
    pub(crate) fn request_exchange(&self, target: &Target) -> Exchange {
        let exchange = self.exchange(self.exchange_name(target));
        match self.found.exchange {
            Some(durable) => exchange.durable(durable),
            None => exchange,
        }
    }

    /// Returns a queue that several processes consume from.
    pub(crate) fn shared_queue(&self, name: impl Into<String>) -> Queue {
        self.queue(name.into(), self.shared_is_durable())
    }

    /// Returns the queue of a target's requests with this routing key.
    pub(crate) fn request_queue(&self, target: &Target, routing_key: &str) -> Queue {
        let durable = self.found.request_queues.unwrap_or(self.shared_is_durable());
        self.queue(self.scope(target, routing_key), durable)
    }

    /// Returns the exchange that reaches all servers of a topic.
    pub(crate) fn fanout_exchange(&self, target: &Target) -> Exchange {
        let durable = self.found.fanout_exchange.unwrap_or(self.transient_is_durable());
        Exchange::fanout(self.fanout_name(target)).durable(durable).auto_delete(true)
    }

    /// Returns a server's queue on the fanout exchange, or the stream that all servers share.
    pub(crate) fn fanout_queue(&self, target: &Target) -> Queue {
        let name = self.fanout_name(target);
        if !self.stream_fanout {
            return self.transient_queue(format!("{name}_{}", self.unique()));
        }
        let stream = with(Queue::durable(name), "x-queue-type", "stream");
        match self.transient_ttl.as_secs() {
            0 => stream,
            seconds => with(stream, "x-max-age", format!("{seconds}s")),
        }
    }

    /// Whether the queue of fanouts is deleted with its server.
    pub(crate) fn deletes_fanout_queue(&self) -> bool {
        !self.stream_fanout && self.process.is_none()
    }

    /// Returns the queue for the replies to one process.
    pub(crate) fn reply_queue(&self) -> Queue {
        self.transient_queue(format!("reply_{}", self.unique()))
    }

    /// Returns how requests are consumed.
    pub(crate) fn consume_options(&self) -> ConsumeOptions {
        let options = ConsumeOptions::new();
        if !self.cancel_on_failover {
            return options;
        }
        let cancelled = options.clone().arg("x-cancel-on-ha-failover", true);
        debug_assert!(cancelled.is_ok(), "{SHORT}");
        cancelled.unwrap_or(options)
    }

    /// Returns how fanouts are consumed, and where their stream begins.
    pub(crate) fn fanout_consume_options(&self) -> ConsumeOptions {
        match (self.stream_fanout, self.stream_start) {
            (false, _) => self.consume_options(),
            (true, StreamStart::Next) => ConsumeOptions::new().stream_offset(StreamOffset::Next),
            (true, StreamStart::Last) => ConsumeOptions::new().stream_offset(StreamOffset::Last),
        }
    }

    /// Whether fanouts are read from a stream.
    pub(crate) fn reads_stream(&self) -> bool {
        self.stream_fanout
    }

    fn queue(&self, name: String, durable: bool) -> Queue {
        let queue = if durable { Queue::durable(name) } else { Queue::new(name) };
        self.replicated(queue.auto_delete(self.auto_delete), self.quorum)
    }

    fn transient_queue(&self, name: String) -> Queue {
        let queue = if self.transient_is_durable() { Queue::durable(name) } else { Queue::new(name) };
        let quorum = self.transient_is_durable().then(|| self.quorum.unwrap_or_default());
        let queue = self.replicated(queue, quorum);
        match i64::try_from(self.transient_ttl.as_millis()).unwrap_or(i64::MAX) {
            0 => queue,
            ttl => with(queue, "x-expires", ttl),
        }
    }

    fn replicated(&self, queue: Queue, quorum: Option<Quorum>) -> Queue {
        match quorum {
            Some(quorum) => quorum.declare(queue),
            None if self.mirrored => with(queue, "x-ha-policy", "all"),
            None => queue,
        }
    }

    fn shared_is_durable(&self) -> bool {
        self.durable || self.quorum.is_some()
    }

    fn transient_is_durable(&self) -> bool {
        self.transient_quorum || self.stream_fanout
    }

    fn exchange_name<'a>(&'a self, target: &'a Target) -> &'a str {
        target.exchange_name().unwrap_or(self.control_exchange_name())
    }

    fn fanout_name(&self, target: &Target) -> String {
        format!("{}_fanout", self.scope(target, target.topic_name()))
    }

    fn scope(&self, target: &Target, name: &str) -> String {
        if self.scoped { format!("{}.{name}", self.exchange_name(target)) } else { name.to_owned() }
    }

    /// Returns a unique suffix of a name.
    fn unique(&self) -> String {
        static COUNT: AtomicU64 = AtomicU64::new(1);
        match &self.process {
            Some(process) => format!("{process}:{}", COUNT.fetch_add(1, Ordering::Relaxed)),
            None => Id::new().to_string(),
        }
    }
}

impl Default for Topology {
    fn default() -> Self {
        Topology::new()
    }
}

const SHORT: &str = "a short key and a flat value always fit";

/// Adds an argument.
fn with(queue: Queue, argument: &'static str, value: impl Into<Value>) -> Queue {
    let set = queue.clone().arg(argument, value);
    debug_assert!(set.is_ok(), "{SHORT}");
    set.unwrap_or(queue)
}

/// Returns the conflict that a declaration or a message met.
fn conflict(error: &Error) -> Option<&Conflict> {
    match error {
        Error::Conflict(conflict) => Some(conflict),
        Error::Undelivered(undelivered) => undelivered.source.as_deref().and_then(conflict),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target() -> Target {
        Target::topic("t").exchange("x")
    }

    #[test]
    fn the_default_entities_are_pythons() {
        let topology = Topology::default();
        assert_eq!(topology.exchange("openstack"), Exchange::topic("openstack"));
        assert_eq!(topology.shared_queue("t.s1"), Queue::new("t.s1"));
        assert_eq!(topology.fanout_exchange(&target()), Exchange::fanout("t_fanout").auto_delete(true));
        let reply = topology.reply_queue();
        assert_eq!(reply, Queue::new(reply.name()).arg("x-expires", 1_800_000_i64).unwrap());
        assert_eq!(reply.name().len(), "reply_".len() + 32);
        let fanout = topology.fanout_queue(&target());
        assert!(fanout.name().starts_with("t_fanout_"));
        assert_eq!(fanout, Queue::new(fanout.name()).arg("x-expires", 1_800_000_i64).unwrap());
    }

    #[test]
    fn durable_and_auto_delete_leave_the_transient_queues_alone() {
        let topology = Topology::new().durable(true).auto_delete(true).transient_ttl(Duration::ZERO);
        assert_eq!(topology.exchange("x"), Exchange::topic("x").durable(true).auto_delete(true));
        assert_eq!(topology.shared_queue("q"), Queue::durable("q").auto_delete(true));
        assert_eq!(topology.fanout_exchange(&target()), Exchange::fanout("t_fanout").auto_delete(true));
        let reply = topology.reply_queue();
        assert_eq!(reply, Queue::new(reply.name()));
    }

    #[test]
    fn quorum_queues_have_pythons_arguments_in_shared_and_transient_queues() {
        let limits = Quorum::new().delivery_limit(3).memory_length(10).memory_bytes(1000);
        let topology = Topology::new().quorum(limits);
        assert_eq!(topology.exchange("x"), Exchange::topic("x").durable(true));
        let limited = |queue: Queue| {
            let queue = queue.arg("x-queue-type", "quorum").unwrap().arg("x-delivery-limit", 3_i64).unwrap();
            queue
                .arg("x-max-in-memory-length", 10_i64)
                .unwrap()
                .arg("x-max-in-memory-bytes", 1000_i64)
                .unwrap()
        };
        assert_eq!(topology.shared_queue("t"), limited(Queue::durable("t")));
        let reply = topology.reply_queue();
        assert_eq!(reply, Queue::new(reply.name()).arg("x-expires", 1_800_000_i64).unwrap());

        let topology = topology.transient_quorum(true);
        assert_eq!(
            topology.fanout_exchange(&target()),
            Exchange::fanout("t_fanout").durable(true).auto_delete(true)
        );
        let reply = topology.reply_queue();
        assert_eq!(reply, limited(Queue::durable(reply.name())).arg("x-expires", 1_800_000_i64).unwrap());
    }

    #[test]
    fn a_stream_of_fanouts_is_one_for_all_servers() {
        let topology = Topology::new().stream_fanout(true);
        let stream = Queue::durable("t_fanout").arg("x-queue-type", "stream").unwrap();
        assert_eq!(topology.fanout_queue(&target()), stream.clone().arg("x-max-age", "1800s").unwrap());
        let for_ever = topology.clone().transient_ttl(Duration::ZERO);
        assert_eq!(for_ever.fanout_queue(&target()), stream);
        assert!(
            topology.fanout_exchange(&target())
                == Exchange::fanout("t_fanout").durable(true).auto_delete(true)
                && !topology.deletes_fanout_queue()
        );
    }

    #[test]
    fn mirrored_queues_say_so_unless_they_are_quorum_queues() {
        let topology = Topology::new().mirrored(true);
        assert_eq!(topology.shared_queue("t"), Queue::new("t").arg("x-ha-policy", "all").unwrap());
        let quorum = topology.quorum(Quorum::new());
        assert_eq!(quorum.shared_queue("t"), Queue::durable("t").arg("x-queue-type", "quorum").unwrap());
    }

    #[test]
    fn a_named_process_numbers_its_queues() {
        let topology = Topology::new().process("node1", "nova-api");
        let number =
            |queue: Queue, before: &str| queue.name().strip_prefix(before).unwrap().parse::<u64>().unwrap();
        let fanout = number(topology.fanout_queue(&target()), "t_fanout_node1:nova-api:");
        let reply = number(topology.reply_queue(), "reply_node1:nova-api:");
        assert!(reply > fanout);
    }

    #[test]
    fn scoped_entities_have_their_exchange_in_front() {
        let topology = Topology::new().scoped(true);
        assert_eq!(topology.request_queue(&target(), "t.s1"), Queue::new("x.t.s1"));
        assert_eq!(topology.fanout_exchange(&target()).name(), "x.t_fanout");
        assert!(topology.fanout_queue(&target()).name().starts_with("x.t_fanout_"));
    }
}
