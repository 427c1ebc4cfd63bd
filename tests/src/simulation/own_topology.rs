//! The names that a client declares, binds and deletes, which are its own.

use std::{
    pin::pin,
    task::{Context, Waker},
};

use amqp_client::{Binding, DeleteOptions, Error, Exchange, Queue, Report};
use amqp_codec::ReplyCode;

use super::{
    client::Client,
    scenario::{Step, is_durable, own_exchange, own_queue},
    topology::{Known, Name},
};

impl Client {
    /// Does a step that changes the topology.
    pub(super) async fn change_topology(&mut self, step: Step) {
        match step {
            Step::DeclareQueue { channel, own } => self.declare_queue(channel, own).await,
            Step::DeclareExchange { channel, own } => self.declare_exchange(channel, own).await,
            Step::Bind { channel, queue, exchange, key } => {
                self.bind(channel, (queue, exchange, key), true).await;
            }
            Step::Unbind { channel, queue, exchange, key } => {
                self.bind(channel, (queue, exchange, key), false).await;
            }
            Step::DeleteQueue { channel, own } => self.delete_queue(channel, own).await,
            Step::DeleteExchange { channel, own } => self.delete_exchange(channel, own).await,
            Step::PurgeOwn { channel, own } => self.purge(channel, own).await,
            Step::Abandon { channel, own } => self.abandon_declare(channel, own).await,
            _ => {}
        }
    }

    async fn declare_queue(&mut self, channel: usize, own: usize) {
        let Some(used) = self.channel(channel).await else { return };
        let (queue, thefts) = (queue(self.number, own), self.world.topology.thefts());
        let declared = self.world.call("declaring a queue", used.channel.declare(&queue)).await;
        self.learn(Name::Queue(queue.name().to_owned()), declared.map(|_| present(own)), thefts);
    }

    async fn declare_exchange(&mut self, channel: usize, own: usize) {
        let Some(used) = self.channel(channel).await else { return };
        let exchange = Exchange::direct(own_exchange(self.number, own)).durable(is_durable(own));
        let thefts = self.world.topology.thefts();
        let declared = self.world.call("declaring an exchange", used.channel.declare(&exchange)).await;
        self.learn(Name::Exchange(exchange.name().to_owned()), declared.map(|_| present(own)), thefts);
    }

    /// Binds or unbinds, if the client knows that both ends are there.
    async fn bind(&mut self, channel: usize, (queue, exchange, key): (usize, usize, usize), binds: bool) {
        let Some(used) = self.channel(channel).await else { return };
        let (to, from) = (own_queue(self.number, queue), own_exchange(self.number, exchange));
        let is_there = |name| matches!(self.world.topology.of(&name), Known::Present { .. });
        if !is_there(Name::Queue(to.clone())) || !is_there(Name::Exchange(from.clone())) {
            return;
        }
        let (key, thefts) = (format!("key {key}"), self.world.topology.thefts());
        let binding = Binding::new(&Queue::new(&to), &from).routing_key(&key);
        let name = Name::binding(&from, &to, &key);
        // A binding lasts as long as what it binds.
        let bound = Known::Present { durable: is_durable(queue) && is_durable(exchange) };
        let (done, known) = if binds {
            (self.on_own("bind", used.channel.bind(&binding)).await, bound)
        } else {
            (self.on_own("unbind", used.channel.unbind(&binding)).await, Known::Absent)
        };
        self.learn(name, done.map(|()| known), thefts);
    }

    async fn delete_queue(&mut self, channel: usize, own: usize) {
        let Some(used) = self.channel(channel).await else { return };
        let (name, thefts) = (own_queue(self.number, own), self.world.topology.thefts());
        let deleting = used.channel.delete_queue(&name, DeleteOptions::new());
        let deleted = self.world.call("deleting a queue", deleting).await;
        self.learn(Name::Queue(name), deleted.map(|_| Known::Absent), thefts);
    }

    async fn delete_exchange(&mut self, channel: usize, own: usize) {
        let Some(used) = self.channel(channel).await else { return };
        let (name, thefts) = (own_exchange(self.number, own), self.world.topology.thefts());
        let deleting = used.channel.delete_exchange(&name, DeleteOptions::new());
        let deleted = self.world.call("deleting an exchange", deleting).await;
        self.learn(Name::Exchange(name), deleted.map(|()| Known::Absent), thefts);
    }

    async fn purge(&mut self, channel: usize, own: usize) {
        let Some(used) = self.channel(channel).await else { return };
        let name = own_queue(self.number, own);
        if matches!(self.world.topology.of(&Name::Queue(name.clone())), Known::Present { .. }) {
            self.on_own("purge", used.channel.purge(&name)).await;
        }
    }

    /// Awaits a call on what is this client's own: it may find nothing, if somebody else deletes
    /// that meanwhile.
    async fn on_own<T>(&self, what: &str, call: impl Future<Output = Result<T, Error>>) -> Option<T> {
        let thefts = self.world.topology.thefts();
        let error = match self.world.ends(what, call).await? {
            Ok(value) => return Some(value),
            Err(error) => error,
        };
        let is_missing = error.close().is_some_and(|close| close.code == ReplyCode::NOT_FOUND);
        if is_missing && self.world.topology.thefts() != thefts {
            self.world.log.add(format_args!("{what}: {}", Report(&error)));
        } else {
            self.world.failed(what, &error);
        }
        None
    }

    /// Begins to declare a queue, and drops the call at once.
    async fn abandon_declare(&mut self, channel: usize, own: usize) {
        let Some(used) = self.channel(channel).await else { return };
        let queue = queue(self.number, own);
        {
            let mut declaring = pin!(used.channel.declare(&queue));
            let _ = declaring.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        }
        let name = Name::Queue(queue.name().to_owned());
        self.learn(name.clone(), None, self.world.topology.thefts());
        self.abandoned.insert(name, self.connections);
    }

    /// Notes what a call has done, or that this is unknown. What an earlier connection was told and
    /// nobody waited for may reach the broker later than this call.
    fn learn(&mut self, name: Name, known: Option<Known>, thefts: u64) {
        let is_settled = self.abandoned.get(&name).is_none_or(|at| *at == self.connections);
        let known = known.filter(|_| is_settled);
        if known.is_some() {
            self.abandoned.remove(&name);
        }
        self.world.topology.learn(name, known.unwrap_or(Known::Unknown), thefts);
    }
}

fn queue(client: usize, own: usize) -> Queue {
    let name = own_queue(client, own);
    if is_durable(own) { Queue::durable(name) } else { Queue::new(name) }
}

fn present(own: usize) -> Known {
    Known::Present { durable: is_durable(own) }
}
