//! Declare, bind, unbind, purge and delete.

use amqp_codec::{
    ShortString, Table, Value,
    method::{exchange, queue},
};

use crate::core::{
    entities::{
        exchange::Destination,
        ids::{ConnectionId, ExchangeId, QueueId},
        queue::{Queue, QueueDeclaration},
    },
    journal::records::{DurableBinding, Record},
    rabbitmq::{
        access::Act,
        arguments::{QueueArguments, QueueType, check_entity_name},
        equivalence::{compare, compare_all, compare_property},
        exchange_declaration::{ExchangeDeclaration, Kind},
        refusal::Refusal,
    },
    vhost::Vhost,
    work::{Work, removal::Removal},
};

/// A binding as a method names it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Binding<'a> {
    pub(crate) source: &'a ShortString,
    pub(crate) destination: To<'a>,
    pub(crate) key: &'a ShortString,
    pub(crate) arguments: &'a Table,
}

/// The destination of a binding, by name.
#[derive(Clone, Copy, Debug)]
pub(crate) enum To<'a> {
    Queue(&'a ShortString),
    Exchange(&'a ShortString),
}

/// The answer to a queue declaration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Declared {
    pub(crate) queue: ShortString,
    pub(crate) messages: u32,
    pub(crate) consumers: u32,
}

impl Vhost {
    /// Creates an exchange, or checks that it exists with these properties.
    pub(crate) fn declare_exchange(
        &mut self,
        declare: &exchange::Declare,
        by: ConnectionId,
    ) -> Result<(), Refusal> {
        let name = &declare.exchange;
        if declare.passive {
            not_default(name)?;
            self.permit_passive(by, "exchange", name)?;
            return self.exchange_id(name).map(drop);
        }
        // The checks come in RabbitMQ's order, which decides the error that a client sees.
        let kind = Kind::parse(&declare.kind).ok_or_else(|| Refusal::UnknownExchangeType {
            name: declare.kind.to_string(),
            code: self.profile.unknown_exchange_type,
        })?;
        not_default(name)?;
        self.permit_exchange(by, Act::Configure, name.as_bytes())?;
        let declared = ExchangeDeclaration {
            name: name.detach(),
            kind,
            durable: declare.durable,
            auto_delete: declare.auto_delete,
            internal: declare.internal,
            arguments: declare.arguments.clone(),
        };
        // An existing exchange must have the same properties; a new one passes further checks.
        match self.exchange_names.get(name).and_then(|id| self.exchanges.get(*id)) {
            Some(existing) => self.same_exchange(&existing.declared, &declared),
            None => {
                not_reserved("exchange", name)?;
                let text = name.to_text();
                if self.has_all_exchanges() {
                    let (name, vhost, limit) = (name.to_string(), self.name.clone(), self.limits.exchanges);
                    return Err(Refusal::TooManyExchanges { name, vhost, limit });
                }
                check_entity_name("alternate-exchange", &declare.arguments, self.entity("exchange", &text))?;
                if let Some(alternate) = declare.arguments.get("alternate-exchange") {
                    self.permit_exchange(by, Act::Read, name.as_bytes())?;
                    self.permit_exchange(by, Act::Write, name_in(&alternate))?;
                }
                self.check_memory(declared.weight())?;
                self.create_exchange(declared);
                Ok(())
            }
        }
    }

    fn same_exchange(
        &self,
        current: &ExchangeDeclaration,
        received: &ExchangeDeclaration,
    ) -> Result<(), Refusal> {
        let name = received.name.to_text();
        let entity = self.entity("exchange", &name);
        compare_property("type", current.kind.name(), received.kind.name(), entity)?;
        compare_property("durable", current.durable, received.durable, entity)?;
        compare_property("auto_delete", current.auto_delete, received.auto_delete, entity)?;
        compare_property("internal", current.internal, received.internal, entity)?;
        compare("alternate-exchange", &current.arguments, &received.arguments, entity)
    }

    /// Deletes an exchange; returns its bindings, which are left to be removed. Deleting one that
    /// does not exist succeeds.
    pub(crate) fn delete_exchange(
        &mut self,
        delete: &exchange::Delete,
        by: ConnectionId,
    ) -> Result<Removal, Refusal> {
        let name = &delete.exchange;
        not_default(name)?;
        if name.as_bytes().starts_with(b"amq.") {
            return Err(Refusal::SystemExchange { name: name.to_string(), vhost: self.name.clone() });
        }
        self.permit_exchange(by, Act::Configure, name.as_bytes())?;
        let Some(&id) = self.exchange_names.get(name) else { return Ok(Removal::default()) };
        if delete.if_unused && self.leads_anywhere(id)? {
            return Err(Refusal::InUse {
                what: "exchange",
                name: name.to_string(),
                vhost: self.name.clone(),
            });
        }
        Ok(Removal::exchange(id))
    }

    /// Tells whether an exchange has a binding to a destination that exists.
    ///
    /// # Errors
    /// Too many destinations are deleted to pass them in one turn: their removal has to come first.
    fn leads_anywhere(&mut self, id: ExchangeId) -> Result<bool, Refusal> {
        let Some(exchange) = self.exchanges.get(id) else { return Ok(false) };
        for bound in exchange.bindings() {
            self.budget.spend(1);
            let is_there = match bound.destination {
                Destination::Queue(id) => self.queues.get(id).is_some(),
                Destination::Exchange(id) => self.exchanges.get(id).is_some(),
            };
            if is_there {
                return Ok(true);
            }
            if self.budget.is_over() {
                return Err(Refusal::NotYet);
            }
        }
        Ok(false)
    }

    /// Adds a binding. An existing one stays as it is.
    pub(crate) fn bind(&mut self, binding: Binding<'_>, by: ConnectionId) -> Result<(), Refusal> {
        self.permit_binding(binding, by)?;
        let source = self.exchange_id(binding.source)?;
        let destination = self.destination(binding.destination, by)?;
        let key = binding.key.detach();
        if self.bindings.saturating_sub(self.dying_bindings) >= self.limits.bindings
            && let Some(exchange) = self.exchanges.get(source)
            && exchange.number_of(destination, &key, binding.arguments).is_none()
        {
            let (name, vhost, limit) = (binding.source.to_string(), self.name.clone(), self.limits.bindings);
            return Err(Refusal::TooManyBindings { name, vhost, limit });
        }
        if let Some(exchange) = self.exchanges.get(source)
            && exchange.number_of(destination, &key, binding.arguments).is_none()
        {
            self.check_memory(exchange.binding_weight(&key, binding.arguments))?;
        }
        self.bind_found(source, destination, &key, binding.arguments)?;
        if let Some(binding) = self.lasting(source, destination, &key, binding.arguments) {
            self.messages.journal.record(Record::Bound(binding));
        }
        Ok(())
    }

    /// The record of a binding, if it survives a restart.
    fn lasting(
        &self,
        source: ExchangeId,
        destination: Destination,
        key: &ShortString,
        arguments: &Table,
    ) -> Option<DurableBinding> {
        if !self.messages.journal.is_kept() {
            return None;
        }
        let (source, to_exchange) =
            (self.exchanges.get(source)?.serial, matches!(destination, Destination::Exchange(_)));
        let destination = match destination {
            Destination::Queue(id) => self.queues.get(id)?.serial,
            Destination::Exchange(id) => self.exchanges.get(id)?.serial,
        };
        let (key, arguments) = (key.clone(), arguments.clone());
        let binding = DurableBinding { source, destination, to_exchange, key, arguments };
        (source != 0 && destination != 0).then_some(binding)
    }

    /// Removes a binding; returns what is left to be removed with it. Removing one that does not
    /// exist succeeds.
    pub(crate) fn unbind(&mut self, binding: Binding<'_>, by: ConnectionId) -> Result<Removal, Refusal> {
        self.permit_binding(binding, by)?;
        let destination = match self.destination(binding.destination, by) {
            Ok(destination) => destination,
            Err(Refusal::NoQueue { .. } | Refusal::NoExchange { .. }) => return Ok(Removal::default()),
            Err(other) => return Err(other),
        };
        let Some(&source) = self.exchange_names.get(binding.source) else { return Ok(Removal::default()) };
        let lasting = self.lasting(source, destination, binding.key, binding.arguments);
        let exchange = self.exchanges.get(source);
        let number = exchange.and_then(|e| e.number_of(destination, binding.key, binding.arguments));
        let Some(number) = number else { return Ok(Removal::default()) };
        let is_to_go = self.unbind_found(source, number);
        if let Some(binding) = lasting {
            self.messages.journal.record(Record::Unbound(binding));
        }
        Ok(if is_to_go { Removal::exchange(source) } else { Removal::default() })
    }

    /// Checks the permissions for a binding of these names, before it is known whether they exist.
    fn permit_binding(&self, binding: Binding<'_>, by: ConnectionId) -> Result<(), Refusal> {
        match binding.destination {
            To::Queue(name) => self.permit_queue(by, Act::Write, name)?,
            To::Exchange(name) => {
                self.permit_exchange(by, Act::Write, name.as_bytes())?;
                not_default(name)?;
            }
        }
        not_default(binding.source)?;
        self.permit_exchange(by, Act::Read, binding.source.as_bytes())?;
        let source = self.exchange_names.get(binding.source);
        source.map_or(Ok(()), |source| self.permit_topic(by, Act::Read, *source, binding.key.as_bytes()))
    }

    fn destination(&self, to: To<'_>, by: ConnectionId) -> Result<Destination, Refusal> {
        match to {
            To::Queue(name) => self.usable_queue(name, by).map(Destination::Queue),
            To::Exchange(name) => self.exchange_id(name).map(Destination::Exchange),
        }
    }

    /// Creates a queue, or checks that it exists with these properties. The empty name asks for a
    /// generated name.
    pub(crate) fn declare_queue(
        &mut self,
        now: u64,
        declare: &queue::Declare,
        by: ConnectionId,
        generate: impl FnOnce() -> ShortString,
    ) -> Result<Declared, Refusal> {
        // This is not a queue, but a passive declaration tells whether the requester still waits.
        match self.has_replies(&declare.queue) {
            Some(true) => return Ok(Declared { queue: declare.queue.detach(), messages: 0, consumers: 1 }),
            Some(false) => return Err(self.no_queue(&declare.queue)),
            None => {}
        }
        if declare.passive {
            self.permit_passive(by, "queue", &declare.queue)?;
            let id = self.usable_queue(&declare.queue, by)?;
            return self.declared(now, id);
        }
        let kind = QueueType::asked_for(&declare.arguments);
        if declare.queue.is_empty() && kind != QueueType::Classic {
            return Err(Refusal::NotServerNamed(kind.name()));
        }
        let name = if declare.queue.is_empty() { generate() } else { declare.queue.detach() };
        if !declare.queue.is_empty() {
            not_reserved("queue", &name)?;
        }
        self.permit_queue(by, Act::Configure, &name)?;
        self.counters.churn.queues_declared += 1;
        let id = match self.queue_names.get(&name) {
            Some(&id) => {
                self.same_queue(id, declare, by)?;
                id
            }
            None => self.create_queue(now, name, declare, by)?,
        };
        self.declared(now, id)
    }

    fn create_queue(
        &mut self,
        now: u64,
        name: ShortString,
        declare: &queue::Declare,
        by: ConnectionId,
    ) -> Result<QueueId, Refusal> {
        // Limits, arguments and permissions are checked before anything changes.
        if self.queue_names.len() >= self.limits.queues {
            return Err(Refusal::TooManyQueues {
                name: name.to_string(),
                vhost: self.name.clone(),
                limit: self.limits.queues,
            });
        }
        let arguments = {
            let text = name.to_text();
            QueueArguments::parse(&declare.arguments, self.entity("queue", &text), self.profile)?
        };
        if let Some(dead_letter) = declare.arguments.get("x-dead-letter-exchange") {
            self.permit_queue(by, Act::Read, &name)?;
            self.permit_exchange(by, Act::Write, name_in(&dead_letter))?;
        }
        if !(self.profile.transient_queues || declare.durable || declare.exclusive) {
            return Err(Refusal::TransientQueue);
        }
        if arguments.kind != QueueType::Classic {
            self.check_properties(&name, declare)?;
        }
        let weight = Queue::weight_of(&name, &declare.arguments);
        self.check_memory(weight)?;
        self.budget.spend(self.policy_units());
        let arguments = self.under_policies(name.as_bytes(), &declare.arguments, arguments);
        self.entities_weight += weight;
        // A durable queue is recorded in the journal.
        let serial = self.messages.journal.serial(is_durable(declare));
        if serial != 0 {
            self.messages.journal.record(Record::QueueDeclared {
                serial,
                name: name.clone(),
                auto_delete: declare.auto_delete,
                arguments: declare.arguments.clone(),
            });
        }
        self.counters.churn.queues_created += 1;
        // The queue is created and gets its name; remembered routes may change.
        let id = self.queues.insert(Queue::new(
            QueueDeclaration {
                name: name.clone(),
                durable: is_durable(declare),
                auto_delete: declare.auto_delete,
                owner: declare.exclusive.then_some(by),
                table: declare.arguments.clone(),
                arguments,
                serial,
            },
            now,
        ));
        self.queue_names.insert(name, id);
        self.routes_version += 1;
        if let Some(timeout) = self.queues.get(id).and_then(|queue| queue.arguments.consumer_timeout) {
            self.expect_timeout(now, timeout);
        }
        // An exclusive queue is deleted with its connection.
        if declare.exclusive
            && let Some(connection) = self.connections.get_mut(by)
        {
            connection.exclusive_queues.insert(id);
        }
        self.arm(id);
        Ok(id)
    }

    /// Checks that quorum queues and streams are durable and not exclusive.
    fn check_properties(&self, name: &ShortString, declare: &queue::Declare) -> Result<(), Refusal> {
        let property = match declare {
            queue::Declare { auto_delete: true, .. } => "auto-delete",
            queue::Declare { exclusive: true, .. } => "exclusive-owner",
            queue::Declare { durable: false, .. } => "non-durable",
            _ => return Ok(()),
        };
        Err(Refusal::InvalidProperty { property, name: name.to_string(), vhost: self.name.clone() })
    }

    fn same_queue(&self, id: QueueId, declare: &queue::Declare, by: ConnectionId) -> Result<(), Refusal> {
        let Some(current) = self.queues.get(id) else { return Err(self.no_queue(&declare.queue)) };
        if current.owner != declare.exclusive.then_some(by) {
            return Err(self.locked(&declare.queue));
        }
        let name = declare.queue.to_text();
        let entity = self.entity("queue", &name);
        compare_property("durable", current.durable, is_durable(declare), entity)?;
        compare_property("auto_delete", current.auto_delete, declare.auto_delete, entity)?;
        compare_all((current.arguments.kind, self.profile), &current.table, &declare.arguments, entity)
    }

    fn declared(&mut self, now: u64, id: QueueId) -> Result<Declared, Refusal> {
        self.prune(now, id)?;
        let Some(queue) = self.queues.get_mut(id) else {
            return Ok(Declared { queue: ShortString::EMPTY, messages: 0, consumers: 0 });
        };
        queue.last_used = now;
        Ok(Declared {
            queue: queue.name.clone(),
            messages: count(queue.len()),
            // RabbitMQ does not count the consumers of a stream.
            consumers: if queue.stream.is_some() { 0 } else { count(queue.consumers.len()) },
        })
    }

    /// Drops expired messages and the excess of a queue.
    ///
    /// # Errors
    /// That is more than the turn allows: the operation is to be tried again.
    pub(super) fn prune(&mut self, now: u64, id: QueueId) -> Result<(), Refusal> {
        let Some(queue) = self.queues.get_mut(id) else { return Ok(()) };
        if queue.prune(now, &mut self.messages, &mut self.dead_letters, &mut self.budget) {
            return Ok(());
        }
        self.wake(id);
        Err(Refusal::NotYet)
    }

    /// Drops a queue's ready messages; returns how many, and the rest of the work, which is to free
    /// them.
    pub(crate) fn purge_queue(
        &mut self,
        now: u64,
        name: &ShortString,
        by: ConnectionId,
    ) -> Result<(u32, Work), Refusal> {
        self.permit_queue(by, Act::Read, name)?;
        let id = self.usable_queue(name, by)?;
        if self.queues.get(id).is_some_and(|queue| queue.stream.is_some()) {
            let name = name.to_text();
            let queue = self.entity("queue", &name);
            return Err(Refusal::NotImplemented(format!(
                "queue.purge not supported by stream queues {queue}"
            )));
        }
        self.prune(now, id)?;
        let Some(queue) = self.queues.get_mut(id) else { return Err(self.no_queue(name)) };
        let ready = queue.ready.take();
        Ok((count(ready.len()), Work::Purge { serial: queue.serial, ready: Box::new(ready) }))
    }

    /// Deletes a queue; returns how many messages were ready, and what is left to be removed.
    /// Deleting one that does not exist succeeds.
    pub(crate) fn delete_queue(
        &mut self,
        now: u64,
        delete: &queue::Delete,
        by: ConnectionId,
    ) -> Result<(u32, Removal), Refusal> {
        self.permit_queue(by, Act::Configure, &delete.queue)?;
        let id = match self.usable_queue(&delete.queue, by) {
            Err(Refusal::NoQueue { .. }) => return Ok((0, Removal::default())),
            other => other?,
        };
        self.prune(now, id)?;
        let (name, vhost) = (delete.queue.to_string(), self.name.clone());
        let Some(queue) = self.queues.get(id) else { return Ok((0, Removal::default())) };
        // RabbitMQ deletes a stream unconditionally.
        if queue.stream.is_some() {
            return Ok((0, Removal::queue(id)));
        }
        if delete.if_unused && self.is_consumed(id)? {
            return Err(Refusal::InUse { what: "queue", name, vhost });
        }
        let ready = self.queues.get(id).map_or(0, |queue| queue.ready.len());
        if delete.if_empty && ready > 0 {
            return Err(Refusal::NotEmpty { name, vhost });
        }
        Ok((count(ready), Removal::queue(id)))
    }

    /// Tells whether a queue has a consumer whose channel stays open.
    ///
    /// # Errors
    /// Too many consumers end to pass them in one turn.
    pub(super) fn is_consumed(&mut self, id: QueueId) -> Result<bool, Refusal> {
        let consumers = self.queues.get(id).into_iter().flat_map(|queue| queue.consumers.values());
        for consumer in consumers {
            self.budget.spend(1);
            let channel =
                self.consumers.get(*consumer).and_then(|consumer| self.channels.get(consumer.channel));
            if channel.is_some_and(|channel| !channel.is_ending) {
                return Ok(true);
            }
            if self.budget.is_over() {
                return Err(Refusal::NotYet);
            }
        }
        Ok(false)
    }

    /// Deletes the queue of this name, whoever uses it; returns how many messages were ready.
    pub(crate) fn remove_named_queue(&mut self, name: &str) -> Option<(u32, Removal)> {
        let id = *self.queue_names.get(name.as_bytes())?;
        let ready = self.queues.get(id).map_or(0, |queue| queue.ready.len());
        Some((count(ready), Removal::queue(id)))
    }
}

/// Tells whether a queue is durable; one that ends with its connection is not.
const fn is_durable(declare: &queue::Declare) -> bool {
    declare.durable && !declare.exclusive
}

/// The name in an argument that has been checked to be text.
fn name_in(value: &Value) -> &[u8] {
    match value {
        Value::LongString(name) => name.as_bytes(),
        _ => &[],
    }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn not_default(exchange: &ShortString) -> Result<(), Refusal> {
    if exchange.is_empty() { Err(Refusal::DefaultExchange) } else { Ok(()) }
}

fn not_reserved(what: &'static str, name: &ShortString) -> Result<(), Refusal> {
    if name.as_bytes().starts_with(b"amq.") {
        return Err(Refusal::ReservedName { what, name: name.to_string() });
    }
    Ok(())
}
