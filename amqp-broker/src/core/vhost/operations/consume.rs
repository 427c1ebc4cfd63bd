//! Consume, cancel and get, and the prefetch limits.

use amqp_codec::{ShortString, method::basic};

use crate::core::{
    content::message::{Message, Parts},
    effects::sink::Sink,
    entities::{
        consumer::Consumer,
        ids::{ChannelId, ConnectionId, ConsumerId, QueueId},
        queue::Queue,
        unacked::UnackedDelivery,
    },
    rabbitmq::{
        access::Act,
        arguments::{ConsumerArguments, QueueArguments, QueueType},
        refusal::Refusal,
    },
    vhost::Vhost,
    work::{Work, removal::Removal},
};

/// The prefetch of a quorum queue's consumer that has set none.
const QUORUM_PREFETCH: u32 = 2000;

/// A message fetched with `basic.get`.
#[derive(Debug)]
pub(crate) struct Got {
    pub(crate) tag: u64,
    pub(crate) redelivered: bool,
    message: Message,
    /// The content header, if it differs from the published one.
    header: Option<Vec<u8>>,
    /// The number of messages that are left in the queue.
    pub(crate) remaining: u32,
}

impl Got {
    /// The message as it is sent.
    pub(crate) fn parts(&self) -> Parts<'_> {
        let parts = self.message.parts();
        Parts { header: self.header.as_deref().unwrap_or(parts.header), ..parts }
    }
}

impl Vhost {
    /// Starts a consumer. Its first message comes with [`start`](Self::start), after the client has
    /// been told of the consumer.
    ///
    /// # Errors
    /// The queue does not exist, belongs to another connection or is in exclusive use, or the tag
    /// is in use.
    pub(crate) fn consume(
        &mut self,
        now: u64,
        id: ChannelId,
        by: ConnectionId,
        consume: &basic::Consume,
    ) -> Result<QueueId, Refusal> {
        // The checks come in RabbitMQ's order, which decides the error that a client sees.
        if self.channels.get(id).is_some_and(|channel| channel.consumers.contains_key(&consume.consumer_tag))
        {
            return Err(Refusal::ConsumerTagReused(consume.consumer_tag.clone()));
        }
        self.check_count(id)?;
        self.permit_queue(by, Act::Read, &consume.queue)?;
        let queue_id = self.usable_queue(&consume.queue, by)?;
        let arguments = self.check_consumer(id, queue_id, consume)?;
        let Some(queue) = self.queues.get(queue_id) else { return Err(self.no_queue(&consume.queue)) };
        // Quorum queues and streams do not know exclusive consumers, and single active consumers
        // share a queue.
        let exclusive = consume.exclusive && queue.arguments.kind == QueueType::Classic;
        let is_shared = exclusive && queue.arguments.single_active_consumer;
        if is_shared
            || (queue.exclusive_consumer.is_some() || exclusive && !queue.consumers.is_empty())
                && self.is_consumed(queue_id)?
        {
            return Err(Refusal::ExclusiveUse { name: consume.queue.to_string(), vhost: self.name.clone() });
        }
        // Nothing can be refused any more: the consumer is created.
        let (Some(queue), Some(channel)) = (self.queues.get_mut(queue_id), self.channels.get_mut(id)) else {
            return Err(self.no_queue(&consume.queue));
        };
        let tag = consume.consumer_tag.detach();
        let consumer = self.consumers.insert(Consumer {
            tag: tag.clone(),
            queue: queue_id,
            channel: id,
            no_ack: consume.no_ack,
            prefetch: match queue.arguments.kind {
                QueueType::Quorum if channel.prefetch == 0 => QUORUM_PREFETCH,
                _ => channel.prefetch,
            },
            unacked: 0,
            shares: queue.arguments.kind == QueueType::Classic,
            priority: arguments.priority,
            offset: match &queue.stream {
                Some(log) => log.begin(arguments.offset, now, self.began),
                None => 0,
            },
            filter: arguments.filter.map(Box::new),
            timeout: arguments.timeout,
            in_line: false,
            ticket: None,
            number: 0,
        });
        // The channel, the queue and the memory account learn of it.
        channel.consumers.insert(tag, consumer);
        self.entities_weight += Consumer::WEIGHT;
        let number = queue.add_consumer(consumer);
        if let Some(consumer) = self.consumers.get_mut(consumer) {
            consumer.number = number;
        }
        if exclusive {
            queue.exclusive_consumer = Some(consumer);
        }
        self.line_up(consumer);
        if let Some(timeout) = arguments.timeout {
            self.expect_timeout(now, timeout);
        }
        Ok(queue_id)
    }

    /// Checks that the channel may have one more consumer.
    pub(super) fn check_count(&self, id: ChannelId) -> Result<(), Refusal> {
        let limit = self.limits.consumers;
        match self.channels.get(id) {
            Some(channel) if channel.consumers.len() >= limit => Err(Refusal::TooManyConsumers(limit)),
            _ => Ok(()),
        }
    }

    /// Checks what the type of a queue demands of its consumers.
    fn check_consumer(
        &self,
        id: ChannelId,
        queue_id: QueueId,
        consume: &basic::Consume,
    ) -> Result<ConsumerArguments, Refusal> {
        let (Some(queue), Some(channel)) = (self.queues.get(queue_id), self.channels.get(id)) else {
            return Err(self.no_queue(&consume.queue));
        };
        let kind = queue.arguments.kind;
        let name = queue.name.to_text();
        let queue = self.entity("queue", &name);
        let arguments = ConsumerArguments::parse(&consume.arguments, kind, queue, self.profile)?;
        if kind == QueueType::Stream && channel.prefetch == 0 {
            return Err(Refusal::NoPrefetch(match self.profile.streams_by_type {
                true => format!("stream {queue}"),
                false => format!("'{queue}'"),
            }));
        }
        if kind == QueueType::Stream && consume.no_ack {
            let stream = if self.profile.streams_by_type { "stream" } else { "stream queues" };
            let text = format!("automatic acknowledgement not supported by {stream} {queue}");
            return Err(Refusal::NotImplemented(text));
        }
        if kind != QueueType::Classic && channel.shared_prefetch != 0 {
            return Err(Refusal::NotImplemented(format!("{queue} does not support global qos")));
        }
        Ok(arguments)
    }

    /// Delivers to consumers that are new or have room again, and publishes dead letters.
    pub(crate) fn start(&mut self, now: u64, sink: &mut impl Sink) {
        self.dispatch_woken(now, sink);
    }

    /// Ends a consumer; returns what is left to be removed. Its unacknowledged deliveries stay
    /// unacknowledged. Ending a consumer that does not exist succeeds.
    pub(crate) fn cancel(&mut self, now: u64, id: ChannelId, tag: &ShortString) -> Removal {
        if self.cancel_replies(id, tag) {
            return Removal::default();
        }
        let consumer = self.channels.get_mut(id).and_then(|channel| channel.consumers.remove(tag));
        match consumer.and_then(|consumer| self.leave_queue(now, consumer)) {
            Some(id) if self.queues.get(id).is_some_and(Queue::is_to_go) => Removal::queue(id),
            _ => Removal::default(),
        }
    }

    /// Removes a consumer from its queue, and activates the next one when only one is active;
    /// returns the queue.
    pub(super) fn leave_queue(&mut self, now: u64, id: ConsumerId) -> Option<QueueId> {
        let consumer = self.consumers.remove(id)?;
        self.entities_weight -= Consumer::WEIGHT;
        if let Some(channel) = self.channels.get_mut(consumer.channel) {
            channel.leave_turn(&consumer);
        }
        let queue_id = consumer.queue;
        let queue = self.queues.get_mut(queue_id)?;
        queue.remove_consumer(consumer.number, now);
        if queue.has_gaps() {
            queue.close_gaps(|consumer| self.consumers.get(*consumer).is_some());
        }
        let next = queue.consumers.first_key_value().map(|(_, next)| *next);
        let next = next.filter(|_| queue.arguments.single_active_consumer);
        if let Some(next) = next {
            self.line_up(next);
        }
        self.arm(queue_id);
        Some(queue_id)
    }

    /// Ends a queue's consumers, or those of this tag, without the client's request; returns how
    /// many.
    pub(crate) fn expel(&mut self, now: u64, queue: &str, tag: Option<&str>, sink: &mut impl Sink) -> usize {
        let Some(&queue_id) = self.queue_names.get(queue.as_bytes()) else { return 0 };
        let all = self.queues.get(queue_id).map(|queue| queue.consumers.clone()).unwrap_or_default();
        let all = all.into_values();
        let mut count = 0;
        for id in all {
            let Some(consumer) = self.consumers.get(id) else { continue };
            if tag.is_some_and(|tag| consumer.tag.as_bytes() != tag.as_bytes()) {
                continue;
            }
            let (tag, channel) = (consumer.tag.clone(), consumer.channel);
            self.leave_queue(now, id);
            count += 1;
            let Some(channel) = self.channels.get_mut(channel) else { continue };
            channel.consumers.remove(&tag);
            if self.connections.get(channel.connection).is_some_and(|owner| owner.cancel_notify) {
                sink.cancel(channel.connection, channel.number, &tag);
            }
        }
        if count > 0 && self.queues.get(queue_id).is_some_and(Queue::is_to_go) {
            self.background.abandon(Work::Remove(Box::new(Removal::queue(queue_id))));
        }
        self.dispatch_woken(now, sink);
        count
    }

    /// Ends a consumer whose queue was deleted, and tells the client.
    pub(super) fn end_consumer(&mut self, id: ConsumerId, sink: &mut impl Sink) {
        let Some(consumer) = self.consumers.remove(id) else { return };
        self.entities_weight -= Consumer::WEIGHT;
        let Some(channel) = self.channels.get_mut(consumer.channel) else { return };
        channel.consumers.remove(&consumer.tag);
        channel.leave_turn(&consumer);
        if self.connections.get(channel.connection).is_some_and(|owner| owner.cancel_notify) {
            sink.cancel(channel.connection, channel.number, &consumer.tag);
        }
    }

    /// Takes one message out of a queue, if there is one.
    ///
    /// # Errors
    /// The queue does not exist, or belongs to another connection.
    pub(crate) fn get(
        &mut self,
        now: u64,
        id: ChannelId,
        by: ConnectionId,
        get: &basic::Get,
    ) -> Result<Option<Got>, Refusal> {
        self.permit_queue(by, Act::Read, &get.queue)?;
        let queue_id = self.usable_queue(&get.queue, by)?;
        let Some(queue) = self.queues.get(queue_id) else { return Ok(None) };
        // Streams and single active consumers of quorum queues allow no get.
        let refused = match &queue.arguments {
            QueueArguments { kind: QueueType::Stream, .. } => Some("stream"),
            QueueArguments { kind: QueueType::Quorum, single_active_consumer: true, .. } => Some("quorum"),
            _ => None,
        };
        if let Some(kind) = refused {
            return Err(self.no_get(kind, &get.queue));
        }
        // Expired messages are dropped before one is taken.
        self.prune(now, queue_id)?;
        let (Some(queue), Some(channel)) = (self.queues.get_mut(queue_id), self.channels.get_mut(id)) else {
            return Ok(None);
        };
        queue.last_used = now;
        if !get.no_ack && channel.unacked.len() >= self.limits.unacked as usize {
            return Err(Refusal::TooManyUnacked(self.limits.unacked));
        }
        let Some(entry) = queue.ready.pop() else {
            queue.counters.got_nothing += 1;
            channel.counters.got_nothing += 1;
            return Ok(None);
        };
        queue.counters.get(get.no_ack, entry.redelivered);
        channel.counters.get(get.no_ack, entry.redelivered);
        // An expired message at the head does not count as remaining. RabbitMQ's quorum queues
        // expire it only later.
        if queue.arguments.kind == QueueType::Classic {
            queue.prune(now, &mut self.messages, &mut self.dead_letters, &mut self.budget);
        }
        // The answer is prepared; the message then counts as consumed or as unacknowledged.
        let tag = channel.next_tag();
        let got = Got {
            tag,
            redelivered: entry.redelivered,
            header: match queue.arguments.kind {
                QueueType::Quorum if self.profile.first_get_is_counted => entry.counted(),
                _ => entry.header(),
            },
            message: entry.message.clone(),
            remaining: u32::try_from(queue.ready.len()).unwrap_or(u32::MAX),
        };
        if get.no_ack {
            self.messages.left(queue.serial, &entry);
        } else {
            queue.unacked += 1;
            queue.unacked_bytes += entry.message.body_len() as u64;
            channel.unacked.push(
                tag,
                UnackedDelivery { entry, queue: queue_id, since: now, consumer: None, shared: false },
            );
            self.watch_acks(now);
        }
        self.arm(queue_id);
        if self.is_traced() {
            self.trace_delivery(id, queue_id, got.message.parts(), got.redelivered);
        }
        Ok(Some(got))
    }

    fn no_get(&self, kind: &str, name: &ShortString) -> Refusal {
        let name = name.to_text();
        let queue = self.entity("queue", &name);
        match kind {
            "stream" => Refusal::NotImplemented(format!("basic.get not supported by stream queues {queue}")),
            _ => Refusal::NoGet { name: name.into_owned(), vhost: self.name.clone() },
        }
    }

    /// Sets the prefetch: of each consumer from now on, or of all consumers of the channel
    /// together.
    ///
    /// # Errors
    /// A limit in bytes, which is not implemented (nor is it in RabbitMQ).
    pub(crate) fn qos(
        &mut self,
        now: u64,
        id: ChannelId,
        qos: &basic::Qos,
        sink: &mut impl Sink,
    ) -> Result<(), Refusal> {
        if qos.prefetch_size != 0 {
            return Err(Refusal::NotImplemented(format!("prefetch_size!=0 ({})", qos.prefetch_size)));
        }
        let Some(channel) = self.channels.get_mut(id) else { return Ok(()) };
        if qos.global && !self.profile.global_prefetch_is_per_consumer {
            channel.shared_prefetch = qos.prefetch_count.into();
            self.relieve(id);
            self.dispatch_woken(now, sink);
        } else {
            channel.prefetch = qos.prefetch_count.into();
            // RabbitMQ removes the shared limit here.
            if std::mem::take(&mut channel.shared_prefetch) != 0 {
                self.relieve(id);
                self.dispatch_woken(now, sink);
            }
        }
        Ok(())
    }
}
