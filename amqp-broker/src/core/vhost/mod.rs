//! A virtual host: all entities under one name and one lock.
//!
//! The files of this folder contain the steps that operations have in common; the folder
//! `operations` stands above them and contains the operations. No file calls one above it.

pub(crate) mod ack_timeout;
mod bindings;
pub(crate) mod counting;
pub(crate) mod dead_letter;
mod deliver;
mod enqueue;
pub(crate) mod inspect;
pub(crate) mod lifecycle;
#[cfg(feature = "management")]
pub(crate) mod observe;
pub(crate) mod operations;
pub(crate) mod permissions;
mod policies;
pub(crate) mod reply_to;
pub(crate) mod restore;
pub(crate) mod route;

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap, VecDeque},
};

use amqp_codec::{ShortString, Table};

use super::{
    budget::Budget,
    collections::arena::Arena,
    counters::VhostCounters,
    effects::lost_replies::LostReplies,
    entities::{
        channel::Channel,
        connection::Connection,
        consumer::Consumer,
        dead_letters::DeadLetters,
        exchange::{Destination, Exchange},
        ids::{
            ChannelId, ChannelKey, ConnectionId, ConnectionKey, ConsumerId, ConsumerKey, ExchangeId,
            ExchangeKey, QueueId, QueueKey,
        },
        message_store::MessageStore,
        queue::Queue,
        ready::NEVER,
        unacked::AcksChecked,
    },
    journal::records::{Changes, Record},
    limits::Limits,
    rabbitmq::{
        arguments::Entity,
        exchange_declaration::{ExchangeDeclaration, Kind},
        policies::vhost_policies::Policies,
        profile::Profile,
        refusal::Refusal,
        version::RabbitMq,
    },
    work::{background::BackgroundWork, publishing::Publishing},
};

/// The exchanges of every virtual host, except the default exchange, which is not an entity: it
/// routes by queue name.
const PREDECLARED: &[(&str, Kind, bool)] = &[
    ("amq.direct", Kind::Direct, false),
    ("amq.fanout", Kind::Fanout, false),
    ("amq.topic", Kind::Topic, false),
    ("amq.headers", Kind::Headers, false),
    ("amq.match", Kind::Headers, false),
    (TRACE, Kind::Topic, true),
];

/// The exchange of copies of all messages, while tracing is on.
const TRACE: &str = "amq.rabbitmq.trace";

/// A virtual host.
pub(crate) struct Vhost {
    name: String,
    limits: Limits,
    /// The facts of the version of RabbitMQ that it follows.
    profile: &'static Profile,
    policies: Policies,
    is_traced: bool,
    counters: VhostCounters,
    /// The budget of this turn.
    pub(crate) budget: Budget,
    /// About how many bytes exchanges, queues, bindings, consumers, channels and connections take.
    entities_weight: u64,
    /// The bytes of transactions that are being committed and are not in queues yet.
    committing: u64,
    /// The bytes that connections and the disk hold besides.
    pub(crate) held_elsewhere: u64,
    exchanges: Arena<Exchange, ExchangeKey>,
    exchange_names: HashMap<ShortString, ExchangeId>,
    /// How many bindings all exchanges have, and how many of them are to be removed, some of which
    /// count twice.
    bindings: usize,
    dying_bindings: usize,
    queues: Arena<Queue, QueueKey>,
    queue_names: HashMap<ShortString, QueueId>,
    connections: Arena<Connection, ConnectionKey>,
    channels: Arena<Channel, ChannelKey>,
    consumers: Arena<Consumer, ConsumerKey>,
    /// A number that changes whenever a route may change: remembered routes with another number are
    /// searched anew.
    routes_version: u64,
    /// The number of the current search: it marks the queues and exchanges that the search has
    /// passed.
    routing: u64,
    /// The destinations of the current exchange; the vector is kept for its memory.
    destinations: Vec<Destination>,
    /// The queues that got ready messages or consumers with room, to be handled in this turn or a
    /// later one.
    woken: VecDeque<QueueId>,
    /// The consumers that are to line up, because their connection has room again.
    lining_up: VecDeque<ConsumerId>,
    /// The channels where settlements may have made room for waiting consumers.
    relieved: Vec<ChannelId>,
    /// The messages that died, and the publish that their dead letters stem from.
    dead_letters: DeadLetters,
    letter: Option<Box<Publishing>>,
    /// The direct replies that were dropped, and when dropped replies or dead letters were last
    /// logged.
    lost_replies: LostReplies,
    lost_told_at: u64,
    /// The operations that nobody waits for.
    pub(crate) background: BackgroundWork,
    /// The messages in queues and with consumers, and the journal of changes to persistent state.
    messages: MessageStore,
    /// When its clock began, in milliseconds since 1970.
    pub(crate) began: u64,
    /// The channels that wait for direct replies, by the replies' routing key.
    reply_names: HashMap<ShortString, ChannelId>,
    /// When the oldest unacknowledged delivery of all may be overdue.
    acks_due: u64,
    /// The shortest time of all that deliveries may stay unacknowledged.
    least_ack_timeout: u64,
    /// How far the search for overdue deliveries is, if there is one.
    acks_checked: Option<AcksChecked>,
    /// Which background work the next turn begins with.
    first: usize,
    timers: BinaryHeap<Reverse<(u64, QueueId)>>,
}

impl Vhost {
    pub(crate) fn new(name: &str, limits: Limits) -> Self {
        let mut vhost = Vhost {
            name: name.to_owned(),
            limits,
            profile: RabbitMq::default().profile(),
            policies: Policies::default(),
            is_traced: false,
            counters: VhostCounters::default(),
            budget: Budget::default(),
            entities_weight: 0,
            committing: 0,
            held_elsewhere: 0,
            exchanges: Arena::default(),
            exchange_names: HashMap::new(),
            bindings: 0,
            dying_bindings: 0,
            queues: Arena::default(),
            queue_names: HashMap::new(),
            connections: Arena::default(),
            channels: Arena::default(),
            consumers: Arena::default(),
            routes_version: 1,
            routing: 0,
            destinations: Vec::new(),
            woken: VecDeque::new(),
            lining_up: VecDeque::new(),
            relieved: Vec::new(),
            dead_letters: DeadLetters::new(limits.letters, limits.memory / 8),
            letter: None,
            lost_replies: LostReplies::default(),
            lost_told_at: 0,
            background: BackgroundWork::default(),
            messages: MessageStore::default(),
            began: 0,
            acks_due: NEVER,
            least_ack_timeout: limits.ack_timeout,
            acks_checked: None,
            first: 0,
            reply_names: HashMap::new(),
            timers: BinaryHeap::new(),
        };
        for (&(name, kind, internal), serial) in PREDECLARED.iter().zip(1..) {
            let declared = ExchangeDeclaration {
                name: ShortString::from_static(name),
                kind,
                durable: true,
                auto_delete: false,
                internal,
                arguments: Table::new(),
            };
            vhost.add_exchange(declared, serial);
        }
        vhost
    }

    /// Makes it follow a version of RabbitMQ.
    pub(crate) fn like(mut self, version: RabbitMq) -> Self {
        self.profile = version.profile();
        self
    }

    /// About how much memory the whole virtual host takes.
    #[inline]
    pub(crate) fn held(&self) -> u64 {
        self.messages.bytes()
            + self.dead_letters.weight()
            + self.messages.journal.unwritten()
            + self.committing
            + self.entities_weight
            + self.policies.weight()
    }

    /// Limits the queues; what there is stays.
    #[cfg(feature = "management")]
    pub(crate) fn limit_queues(&mut self, most: usize) {
        self.limits.queues = most;
    }

    /// Checks that there is memory for a declaration or a binding.
    fn check_memory(&self, more: u64) -> Result<(), Refusal> {
        let limit = self.limits.memory;
        if self.held().saturating_add(self.held_elsewhere).saturating_add(more) > limit {
            return Err(Refusal::NoMemory { vhost: self.name.clone(), limit });
        }
        Ok(())
    }

    /// Tells whether the limit of exchanges is reached.
    fn has_all_exchanges(&self) -> bool {
        self.exchange_names.len() >= self.limits.exchanges.saturating_add(PREDECLARED.len())
    }

    fn create_exchange(&mut self, declared: ExchangeDeclaration) {
        let serial = self.messages.journal.serial(declared.durable);
        if serial != 0 {
            self.messages.journal.record(Record::ExchangeDeclared { serial, declared: declared.clone() });
        }
        self.add_exchange(declared, serial);
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The most publishes of a transaction.
    pub(crate) fn most_in_transaction(&self) -> usize {
        self.profile.most_in_transaction
    }

    /// Whether a channel is still open.
    pub(crate) fn has_channel(&self, id: ChannelId) -> bool {
        self.channels.get(id).is_some()
    }

    /// How many persistent changes have been recorded.
    #[inline]
    pub(crate) fn changes(&self) -> usize {
        self.messages.journal.len()
    }

    /// Takes the persistent changes that were recorded, if there are any.
    #[inline]
    pub(crate) fn take_changes(&mut self) -> Option<Changes> {
        self.messages.journal.take()
    }

    fn add_exchange(&mut self, declared: ExchangeDeclaration, serial: u64) {
        let name = declared.name.clone();
        self.entities_weight += declared.weight();
        let mut exchange = Exchange::new(declared, serial);
        self.budget.spend(self.policy_units());
        Self::put_under_policies(&self.policies, &mut exchange);
        let id = self.exchanges.insert(exchange);
        self.exchange_names.insert(name, id);
        self.routes_version += 1;
    }

    fn exchange_id(&self, name: &ShortString) -> Result<ExchangeId, Refusal> {
        self.exchange_names.get(name).copied().ok_or_else(|| self.no_exchange(name.as_bytes()))
    }

    fn no_exchange(&self, name: &[u8]) -> Refusal {
        Refusal::NoExchange { name: String::from_utf8_lossy(name).into_owned(), vhost: self.name.clone() }
    }

    fn no_queue(&self, name: &ShortString) -> Refusal {
        Refusal::NoQueue { name: name.to_string(), vhost: self.name.clone() }
    }

    /// The queue of this name, if this connection may use it.
    fn usable_queue(&self, name: &ShortString, by: ConnectionId) -> Result<QueueId, Refusal> {
        let id = self.queue_names.get(name).copied().ok_or_else(|| self.no_queue(name))?;
        match self.queues.get(id) {
            Some(queue) if queue.owner.is_none_or(|owner| owner == by) => Ok(id),
            // An exclusive queue is deleted with its owner.
            Some(queue) if queue.owner.is_some_and(|owner| self.is_leaving(owner)) => Err(Refusal::NotYet),
            Some(_) => Err(self.locked(name)),
            None => Err(self.no_queue(name)),
        }
    }

    fn is_leaving(&self, id: ConnectionId) -> bool {
        self.connections.get(id).is_none_or(|connection| connection.is_leaving)
    }

    fn locked(&self, name: &ShortString) -> Refusal {
        Refusal::Locked { name: name.to_string(), vhost: self.name.clone() }
    }

    fn entity<'a>(&'a self, what: &'static str, name: &'a str) -> Entity<'a> {
        Entity { what, name, vhost: &self.name }
    }

    /// Notes that a queue has something to handle.
    #[inline]
    fn wake(&mut self, queue: QueueId) {
        if self.woken.back() != Some(&queue) {
            self.woken.push_back(queue);
        }
    }

    /// Sets a queue's timer, unless it fires early enough already.
    fn arm(&mut self, id: QueueId) {
        let Some(queue) = self.queues.get_mut(id) else { return };
        let deadline = queue.deadline();
        if deadline < queue.timer {
            queue.timer = deadline;
            self.timers.push(Reverse((deadline, id)));
            self.forget_old_timers();
        }
    }

    /// Removes old timers. Timers that were set anew, or whose queue is gone, stay in the heap
    /// until they are many.
    fn forget_old_timers(&mut self) {
        if self.timers.len() > 2 * self.queue_names.len() + 64 {
            let queues = &self.queues;
            self.timers.retain(|Reverse((deadline, id))| {
                queues.get(*id).is_some_and(|queue| queue.timer == *deadline)
            });
        }
    }
}

#[cfg(test)]
impl Vhost {
    /// Checks the invariants that hold between operations.
    pub(crate) fn check(&self) {
        if self.has_backlog() {
            return;
        }
        let bindings = self.exchange_names.values().filter_map(|id| self.exchanges.get(*id));
        assert_eq!(self.bindings, bindings.map(Exchange::binding_count).sum::<usize>(), "bindings");
        let mut unacked = std::collections::HashMap::<QueueId, usize>::new();
        for connection in self.connection_ids() {
            for channel in &self.connections.get(connection).unwrap().channels {
                let channel = self.channels.get(*channel).unwrap();
                let (mut in_flight, mut shared) = (0, 0);
                for delivery in
                    channel.unacked.all().chain(channel.settled.values().map(|settled| &settled.delivery))
                {
                    *unacked.entry(delivery.queue).or_default() += 1;
                    in_flight += u32::from(delivery.consumer.is_some());
                    shared += u32::from(delivery.shared);
                }
                assert_eq!(channel.in_flight, in_flight, "deliveries of the channel");
                assert_eq!(channel.shared_in_flight, shared, "deliveries that share a limit");
                let mut consumers = channel.consumers.values().filter_map(|id| self.consumers.get(*id));
                let waits = consumers.any(|consumer| consumer.ticket.is_some());
                assert_eq!(waits, channel.is_waited_for(), "who waits for room");
            }
        }
        for id in self.queue_names.values() {
            let queue = self.queues.get(*id).unwrap();
            assert_eq!(queue.unacked, unacked.get(id).copied().unwrap_or(0), "unacked of {}", queue.name);
            assert!(queue.stream.is_none() || queue.ready.is_empty(), "{} is a stream", queue.name);
            let able = queue.consumers.values().filter(|id| {
                let consumer = self.consumers.get(**id).unwrap();
                let channel = self.channels.get(consumer.channel).unwrap();
                consumer.has_room()
                    && channel.has_room(consumer.shares)
                    && queue.is_active(**id)
                    && !self.connections.get(channel.connection).unwrap().congested
            });
            assert!(queue.ready.is_empty() || able.count() == 0, "{} has messages and consumers", queue.name);
        }
    }

    fn connection_ids(&self) -> impl Iterator<Item = ConnectionId> {
        let channels = self.channels.values().map(|channel| channel.connection);
        channels.collect::<std::collections::HashSet<_>>().into_iter()
    }

    /// The unacknowledged delivery tags of a channel.
    pub(crate) fn outstanding(&self, by: ConnectionId, number: u16) -> Vec<u64> {
        let channels = self.connections.get(by).map(|connection| connection.channels.as_slice());
        let mut channels = channels.unwrap_or_default().iter().filter_map(|id| self.channels.get(*id));
        let channel = channels.find(|channel| channel.number == number);
        channel.map(|channel| channel.unacked.tags_up_to(u64::MAX).collect()).unwrap_or_default()
    }

    /// Tells whether no connection has left anything behind.
    pub(crate) fn is_deserted(&self) -> bool {
        self.connections.len() + self.channels.len() + self.consumers.len() == 0
    }
}
