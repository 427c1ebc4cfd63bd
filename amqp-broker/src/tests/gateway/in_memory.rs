//! A backend in memory.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
};

use crate::sync::Mutex;

use crate::backend::{
    Backend, BackendError, Binding, Claimed, ExchangeDeclaration, ExchangeKind, Link, Message, Published,
    QueueDeclaration, Settlement, Source, Wakes, topic_matches,
};

/// A backend in memory. Clones share everything.
#[derive(Clone, Default)]
pub(super) struct InMemory {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    exchanges: HashMap<String, ExchangeKind>,
    bindings: Vec<Binding>,
    queues: HashMap<String, VecDeque<(Message, bool)>>,
    watchers: Vec<(String, Wakes)>,
    all: Vec<Wakes>,
    /// Set when everything fails.
    is_lost: bool,
    /// The queues that were left by the last consumer of an auto-delete queue.
    left: Vec<String>,
}

impl InMemory {
    /// Loses the backend: all connections are told, and whatever is asked fails.
    pub(super) fn lose(&self) {
        let mut state = self.state.lock();
        state.is_lost = true;
        state.all.iter().for_each(|wakes| wakes.lost(lost()));
    }

    /// Has the backend back.
    pub(super) fn recover(&self) {
        self.state.lock().is_lost = false;
    }

    /// The bodies in a queue; `None` when there is no such queue.
    pub(super) fn bodies(&self, queue: &str) -> Option<Vec<String>> {
        let state = self.state.lock();
        let messages = state.queues.get(queue)?;
        Some(messages.iter().map(|(message, _)| String::from_utf8_lossy(&message.body).into()).collect())
    }

    /// Deletes a queue, as somebody else might.
    pub(super) fn delete(&self, queue: &str) {
        let mut state = self.state.lock();
        state.queues.remove(queue);
        state.all.iter().for_each(|wakes| wakes.deleted(queue));
    }

    pub(super) fn left(&self) -> Vec<String> {
        self.state.lock().left.clone()
    }
}

fn lost() -> BackendError {
    BackendError::Unavailable("the memory is lost".to_owned())
}

impl State {
    fn route(&self, message: &Message) -> Option<HashSet<String>> {
        let (exchange, key) = (message.exchange.to_text(), message.routing_key.to_text());
        if exchange.is_empty() {
            return Some(self.queues.keys().filter(|queue| **queue == key).cloned().collect());
        }
        let kind = *self.exchanges.get(&*exchange)?;
        let matches = |binding: &&Binding| match kind {
            ExchangeKind::Direct => binding.routing_key == key,
            ExchangeKind::Fanout => true,
            ExchangeKind::Topic => topic_matches(&binding.routing_key, &key),
        };
        let bound = self.bindings.iter().filter(|binding| binding.exchange == exchange);
        Some(bound.filter(matches).map(|binding| binding.queue.clone()).collect())
    }

    fn wake(&self, queue: &str) {
        let watchers = self.watchers.iter().filter(|(watched, _)| watched == queue);
        watchers.for_each(|(_, wakes)| wakes.wake(queue));
    }
}

impl Backend for InMemory {
    type Link = InMemoryLink;

    async fn open(&self, wakes: Wakes) -> Result<InMemoryLink, BackendError> {
        let mut state = self.state.lock();
        if state.is_lost {
            return Err(lost());
        }
        state.all.push(wakes.clone());
        Ok(InMemoryLink { state: Arc::clone(&self.state), wakes })
    }
}

pub(super) struct InMemoryLink {
    state: Arc<Mutex<State>>,
    wakes: Wakes,
}

impl InMemoryLink {
    fn with<T>(&self, act: impl FnOnce(&mut State) -> Result<T, BackendError>) -> Result<T, BackendError> {
        let mut state = self.state.lock();
        if state.is_lost { Err(lost()) } else { act(&mut state) }
    }
}

fn no_queue(name: &str) -> BackendError {
    BackendError::NotFound(format!("no queue '{name}'"))
}

impl Link for InMemoryLink {
    type Claim = (String, Message);

    async fn declare_exchange(&mut self, exchange: &ExchangeDeclaration) -> Result<(), BackendError> {
        self.with(|state| {
            let kind = *state.exchanges.entry(exchange.name.clone()).or_insert(exchange.kind);
            match kind == exchange.kind {
                true => Ok(()),
                false => Err(BackendError::PreconditionFailed(format!("it is a {kind} exchange"))),
            }
        })
    }

    async fn find_exchange(&mut self, name: &str) -> Result<(), BackendError> {
        let missing = || BackendError::NotFound(format!("no exchange '{name}'"));
        self.with(|state| state.exchanges.get(name).map(drop).ok_or_else(missing))
    }

    async fn delete_exchange(&mut self, name: &str, _: bool) -> Result<(), BackendError> {
        self.with(|state| {
            state.exchanges.remove(name);
            Ok(())
        })
    }

    async fn declare_queue(&mut self, queue: &QueueDeclaration) -> Result<u32, BackendError> {
        self.with(|state| Ok(state.queues.entry(queue.name.clone()).or_default().len() as u32))
    }

    async fn find_queue(&mut self, name: &str) -> Result<u32, BackendError> {
        self.with(|state| {
            let queue = state.queues.get(name).ok_or_else(|| no_queue(name))?;
            Ok(queue.len() as u32)
        })
    }

    async fn delete_queue(&mut self, name: &str) -> Result<u32, BackendError> {
        self.with(|state| Ok(state.queues.remove(name).map_or(0, |queue| queue.len() as u32)))
    }

    async fn leave_queue(&mut self, name: &str) -> Result<(), BackendError> {
        self.with(|state| {
            state.left.push(name.to_owned());
            Ok(())
        })
    }

    async fn purge_queue(&mut self, name: &str) -> Result<u32, BackendError> {
        self.with(|state| Ok(state.queues.get_mut(name).map_or(0, |queue| queue.drain(..).len() as u32)))
    }

    async fn bind(&mut self, binding: &Binding) -> Result<(), BackendError> {
        self.with(|state| {
            state.bindings.push(binding.clone());
            Ok(())
        })
    }

    async fn unbind(&mut self, binding: &Binding) -> Result<(), BackendError> {
        self.with(|state| {
            state.bindings.retain(|other| other != binding);
            Ok(())
        })
    }

    async fn publish(&mut self, messages: &[Message]) -> Result<Vec<Published>, BackendError> {
        self.with(|state| {
            let mut outcomes = Vec::new();
            for message in messages {
                let Some(queues) = state.route(message) else {
                    let missing = format!("no exchange '{}'", message.exchange);
                    outcomes.push(Published::Refused(BackendError::NotFound(missing)));
                    break;
                };
                let is_routed = !queues.is_empty();
                for queue in queues {
                    state.queues.entry(queue.clone()).or_default().push_back((message.clone(), false));
                    state.wake(&queue);
                }
                outcomes.push(match (is_routed, &message.body[..]) {
                    (_, b"reject") => Published::Rejected,
                    (true, _) => Published::Routed,
                    (false, _) => Published::Unroutable,
                });
            }
            Ok(outcomes)
        })
    }

    async fn watch(&mut self, queue: &str) -> Result<(), BackendError> {
        let wakes = self.wakes.clone();
        self.with(|state| {
            state.queues.get(queue).ok_or_else(|| no_queue(queue))?;
            state.watchers.push((queue.to_owned(), wakes));
            Ok(())
        })
    }

    async fn unwatch(&mut self, _: &str) -> Result<(), BackendError> {
        self.with(|_| Ok(()))
    }

    async fn claim(
        &mut self,
        sources: &[Source<'_>],
    ) -> Result<Vec<Claimed<(String, Message)>>, BackendError> {
        self.with(|state| {
            let mut claimed = Vec::new();
            for (index, source) in sources.iter().enumerate() {
                let Some(queue) = state.queues.get_mut(source.queue) else { continue };
                for (message, redelivered) in queue.drain(..queue.len().min(source.most)) {
                    let claim = (!source.no_ack).then(|| (source.queue.to_owned(), message.clone()));
                    claimed.push(Claimed { source: index, message, redelivered, claim });
                }
            }
            Ok(claimed)
        })
    }

    async fn settle(&mut self, claims: Vec<((String, Message), Settlement)>) -> Result<usize, BackendError> {
        self.with(|state| {
            for ((queue, message), settlement) in claims {
                if settlement == Settlement::Requeue {
                    state.queues.entry(queue.clone()).or_default().push_front((message, true));
                    state.wake(&queue);
                }
            }
            Ok(0)
        })
    }

    async fn close(self) {
        let _closed = self.with(|_| Ok(()));
    }
}
