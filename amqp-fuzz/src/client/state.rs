//! What a session knows, and how requests are sent.

use std::collections::BTreeMap;

use amqp_codec::{Arguments, Frame, Method, MethodId, ReplyCode, Request, ShortString};

use super::{
    channel::{Channel, Effect, Pending},
    options::SessionOptions,
    step::{Refused, Step},
    topology::{Queue, QueueKind, Topology},
};
use crate::choices::Choices;

#[derive(Clone, Debug)]
pub(crate) struct State {
    pub(crate) options: SessionOptions,
    pub(crate) topology: Topology,
    pub(crate) channels: BTreeMap<u16, Channel>,
    /// Names that are vanishing: the channel on which that was asked for, and the name.
    pub(crate) leaving: Vec<(u16, ShortString)>,
    /// Names that are appearing without an answer, likewise.
    pub(crate) coming: Vec<(u16, ShortString)>,
    /// Where answers to received messages go.
    pub(crate) reply_addresses: Vec<ShortString>,
    pub(crate) frame_max: usize,
    pub(crate) channel_max: u16,
    /// Set while an answer on channel 0 is to come.
    pub(crate) awaits_connection: Option<MethodId>,
    tags: u32,
}

impl State {
    pub(crate) fn new(options: SessionOptions) -> Self {
        State {
            frame_max: options.frame_max as usize,
            channel_max: u16::MAX,
            options,
            topology: Topology::new(),
            channels: BTreeMap::new(),
            leaving: Vec::new(),
            coming: Vec::new(),
            reply_addresses: Vec::new(),
            awaits_connection: None,
            tags: 0,
        }
    }

    /// Sends a request, and remembers what its answer will mean. Without `wait` none will come.
    pub(crate) fn request<R: Request>(
        &mut self,
        number: u16,
        request: R,
        wait: bool,
        effect: Effect,
    ) -> Step {
        if wait {
            if let Some(channel) = self.channels.get_mut(&number) {
                channel.pending = Some(Pending { reply: R::Reply::ID, effect });
            }
        } else {
            self.apply(number, effect, None);
            self.run_ahead(number);
        }
        vec![Frame::Method(number, request.into())].into()
    }

    /// Sends something that nothing answers.
    pub(crate) fn tell(&mut self, number: u16, method: impl Into<Method>) -> Step {
        self.run_ahead(number);
        vec![Frame::Method(number, method.into())].into()
    }

    pub(crate) fn run_ahead(&mut self, number: u16) {
        if let Some(channel) = self.channels.get_mut(&number) {
            channel.is_ahead = true;
        }
    }

    /// Adds to a step that the broker must close the channel for it.
    pub(crate) fn refused(&mut self, number: u16, code: ReplyCode, mut step: Step) -> Step {
        self.remove_consumers(number);
        if let Some(channel) = self.channels.get_mut(&number) {
            channel.pending = None;
            channel.doomed = Some(code);
        }
        step.refused = Some(Refused { channel: number, code });
        step
    }

    /// Applies what an answer means. `name` is the queue's in `queue.declare-ok`, or the
    /// consumer's.
    pub(crate) fn apply(&mut self, number: u16, effect: Effect, name: Option<ShortString>) {
        let Some(channel) = self.channels.get_mut(&number) else { return };
        match effect {
            Effect::None | Effect::Opened | Effect::Closed | Effect::Got { .. } => {}
            Effect::Declared(mut queue) => {
                if let Some(name) = name {
                    queue.declared.queue = name;
                }
                channel.current_queue = Some(queue.declared.queue.clone());
                if self.topology.queue(&queue.declared.queue).is_none() {
                    self.topology.queues.push(*queue);
                }
            }
            Effect::DeclaredExchange(exchange) => {
                if self.topology.exchange(&exchange.declared.exchange).is_none() {
                    self.topology.exchanges.push(*exchange);
                }
            }
            Effect::Found => channel.current_queue = name,
            Effect::Bound(binding) => {
                if !self.topology.bindings.contains(&binding) {
                    self.topology.bindings.push(binding);
                }
            }
            Effect::Consumes(consumer) => {
                if let Some(tag) = name {
                    channel.consumers.insert(tag, consumer);
                }
            }
            Effect::Recovered => channel.unsettled.clear(),
            Effect::Entered(mode) => channel.mode = mode,
            Effect::Committed => channel.settled.clear(),
            Effect::RolledBack => channel.unsettled.append(&mut channel.settled),
        }
    }

    /// Returns whether all channels but this one have nothing under way.
    pub(crate) fn others_are_quiet(&self, number: u16) -> bool {
        self.channels.iter().all(|(other, channel)| *other == number || channel.is_quiet())
    }

    /// A consumer tag that was not used before.
    pub(crate) fn new_tag(&mut self) -> ShortString {
        self.tags += 1;
        crate::pools::text(&format!("consumer-{}", self.tags))
    }

    /// A queue that this channel may use and that satisfies `is_fit`.
    pub(crate) fn queue(
        &self,
        number: u16,
        choices: &mut Choices<'_>,
        is_fit: impl Fn(&Queue) -> bool,
    ) -> Option<Queue> {
        let fit: Vec<_> = self
            .topology
            .queues
            .iter()
            .filter(|queue| self.may_use(number, &queue.declared.queue) && is_fit(queue))
            .collect();
        choices.pick(&fit).copied().cloned()
    }

    /// The name of an exchange that this channel may use and that satisfies `is_fit`.
    pub(crate) fn exchange(
        &self,
        number: u16,
        choices: &mut Choices<'_>,
        is_fit: impl Fn(&super::topology::Exchange) -> bool,
    ) -> Option<super::topology::Exchange> {
        let fit: Vec<_> = self
            .topology
            .exchanges
            .iter()
            .filter(|exchange| self.may_use(number, &exchange.declared.exchange) && is_fit(exchange))
            .collect();
        choices.pick(&fit).copied().cloned()
    }

    fn may_use(&self, number: u16, name: &ShortString) -> bool {
        self.coming.iter().all(|(by, coming)| coming != name || *by == number)
    }

    /// Returns whether nothing has this name, nor is about to have or to lose it.
    pub(crate) fn is_unused(&self, name: &ShortString) -> bool {
        let awaited = self.channels.values().filter_map(|channel| channel.pending.as_ref());
        let mut awaited = awaited.filter_map(|pending| match &pending.effect {
            Effect::Declared(queue) => Some(&queue.declared.queue),
            Effect::DeclaredExchange(exchange) => Some(&exchange.declared.exchange),
            _ => None,
        });
        self.topology.queue(name).is_none()
            && self.topology.exchange(name).is_none()
            && self.leaving.iter().all(|(_, leaving)| leaving != name)
            && awaited.all(|awaited| awaited != name)
    }

    /// Returns the number of consumers of a queue, and whether one of them is exclusive.
    pub(crate) fn consumers_of(&self, queue: &ShortString) -> (usize, bool) {
        let channels = || self.channels.values();
        let awaited = channels().filter_map(|channel| match &channel.pending.as_ref()?.effect {
            Effect::Consumes(consumer) => Some(consumer),
            _ => None,
        });
        let all = channels().flat_map(|channel| channel.consumers.values()).chain(awaited);
        all.filter(|consumer| consumer.queue == *queue)
            .fold((0, false), |(count, exclusive), consumer| (count + 1, exclusive || consumer.exclusive))
    }

    /// Removes a queue and all that depends on it.
    pub(crate) fn remove_queue(&mut self, number: u16, name: &ShortString) {
        let gone = self.topology.remove_queue(name);
        for channel in self.channels.values_mut() {
            channel.consumers.retain(|_, consumer| consumer.queue != *name);
            if channel.current_queue.as_ref() == Some(name) {
                channel.current_queue = None;
            }
        }
        self.leave(number, gone);
    }

    /// Marks names as vanishing until the channel has an answer.
    pub(crate) fn leave(&mut self, number: u16, names: Vec<ShortString>) {
        self.coming.retain(|(_, coming)| !names.contains(coming));
        self.leaving.extend(names.into_iter().map(|name| (number, name)));
    }

    /// Removes a consumer, and its queue if that is deleted with its last consumer.
    pub(crate) fn remove_consumer(&mut self, number: u16, tag: &ShortString) {
        let Some(consumer) = self.channels.get_mut(&number).and_then(|channel| channel.consumers.remove(tag))
        else {
            return;
        };
        let is_auto = self.topology.queue(&consumer.queue).is_some_and(|queue| queue.declared.auto_delete);
        if is_auto && self.consumers_of(&consumer.queue).0 == 0 {
            self.remove_queue(number, &consumer.queue);
        }
    }

    /// Removes the consumers of a channel that is about to close.
    pub(crate) fn remove_consumers(&mut self, number: u16) {
        let consumers = self.channels.get(&number).into_iter().flat_map(|channel| channel.consumers.keys());
        for tag in consumers.cloned().collect::<Vec<_>>() {
            self.remove_consumer(number, &tag);
        }
    }

    /// Removes a channel and its consumers.
    pub(crate) fn remove_channel(&mut self, number: u16) {
        self.remove_consumers(number);
        self.channels.remove(&number);
        self.settle_names(number);
    }

    /// The channel has an answer: what it did before is done.
    pub(crate) fn settle_names(&mut self, number: u16) {
        self.leaving.retain(|(by, _)| *by != number);
        self.coming.retain(|(by, _)| *by != number);
        if let Some(channel) = self.channels.get_mut(&number) {
            channel.is_ahead = false;
        }
    }

    /// Returns whether the channel consumes from a queue of such a kind.
    pub(crate) fn consumes_from(&self, number: u16, is_such: impl Fn(QueueKind) -> bool) -> bool {
        let consumers = self.channels.get(&number).into_iter().flat_map(|channel| channel.consumers.values());
        consumers.filter_map(|consumer| self.topology.queue(&consumer.queue)).any(|queue| is_such(queue.kind))
    }
}
