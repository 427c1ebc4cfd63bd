//! What was declared through a connection and still exists, so that it can be declared again after
//! a loss.

use std::collections::BTreeMap;

use amqp_codec::{
    Method, ShortString,
    method::{exchange, queue},
};

/// Exchanges, queues and bindings, each once. Closing a channel removes nothing. A deletion does,
/// and so does what the broker deletes by itself: auto-delete queues with their last consumer,
/// auto-delete exchanges with their last binding. Exclusive queues end with the connection, and are
/// declared again.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    exchanges: BTreeMap<ShortString, exchange::Declare>,
    queues: BTreeMap<ShortString, RecordedQueue>,
    bindings: BTreeMap<BindingKey, RecordedBinding>,
}

/// A queue as it was declared, under its current name.
#[derive(Clone, Debug)]
pub(crate) struct RecordedQueue {
    pub(crate) declare: queue::Declare,
    /// Whether the broker generated the name, and will generate another.
    pub(crate) server_named: bool,
}

/// A binding as it was made.
#[derive(Clone, Debug)]
pub(crate) enum RecordedBinding {
    Queue(queue::Bind),
    Exchange(exchange::Bind),
}

/// The identity of a binding. Those between exchanges sort first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct BindingKey {
    of_queue: bool,
    source: ShortString,
    destination: ShortString,
    routing_key: ShortString,
    arguments: Vec<u8>,
}

impl BindingKey {
    fn of_queue(bind: &queue::Bind) -> Self {
        BindingKey {
            of_queue: true,
            source: bind.exchange.clone(),
            destination: bind.queue.clone(),
            routing_key: bind.routing_key.clone(),
            arguments: bind.arguments.as_encoded().to_vec(),
        }
    }

    fn of_exchange(bind: &exchange::Bind) -> Self {
        BindingKey {
            of_queue: false,
            source: bind.source.clone(),
            destination: bind.destination.clone(),
            routing_key: bind.routing_key.clone(),
            arguments: bind.arguments.as_encoded().to_vec(),
        }
    }
}

impl Registry {
    /// Tells whether a method changes what is recorded, so that it has to be kept until it is
    /// answered.
    pub(crate) fn concerns(method: &Method) -> bool {
        match method {
            Method::Exchange(_) => true,
            Method::Queue(method) => !matches!(method, queue::Method::Purge(_)),
            _ => false,
        }
    }

    /// Records that the broker has executed `request`. `name` is the declared queue's name in the
    /// answer.
    pub(crate) fn apply(&mut self, request: Method, name: Option<&ShortString>) {
        match request {
            Method::Exchange(method) => self.apply_to_exchange(method),
            Method::Queue(method) => self.apply_to_queue(method, name),
            _ => {}
        }
    }

    fn apply_to_exchange(&mut self, method: exchange::Method) {
        match method {
            exchange::Method::Declare(declare) if !declare.passive => {
                self.exchanges.insert(declare.exchange.clone(), declare);
            }
            exchange::Method::Delete(delete) => self.remove_exchange(&delete.exchange),
            exchange::Method::Bind(bind) => {
                self.bindings.insert(BindingKey::of_exchange(&bind), RecordedBinding::Exchange(bind));
            }
            exchange::Method::Unbind(unbind) => {
                let exchange::Unbind { destination, source, routing_key, arguments, .. } = unbind;
                let bind =
                    exchange::Bind { destination, source, routing_key, arguments, ..Default::default() };
                self.remove_binding(&BindingKey::of_exchange(&bind));
            }
            _ => {}
        }
    }

    fn apply_to_queue(&mut self, method: queue::Method, name: Option<&ShortString>) {
        match method {
            queue::Method::Declare(mut declare) if !declare.passive => {
                let mut server_named = declare.queue.is_empty();
                if let Some(name) = name {
                    declare.queue = name.detach();
                }
                // A queue with a generated name may be declared again by that name: it still counts
                // as generated.
                server_named |= self.queues.get(&declare.queue).is_some_and(|known| known.server_named);
                self.queues.insert(declare.queue.clone(), RecordedQueue { declare, server_named });
            }
            queue::Method::Delete(delete) => self.remove_queue(&delete.queue),
            queue::Method::Bind(bind) => {
                self.bindings.insert(BindingKey::of_queue(&bind), RecordedBinding::Queue(bind));
            }
            queue::Method::Unbind(unbind) => {
                let queue::Unbind { queue, exchange, routing_key, arguments, .. } = unbind;
                let bind = queue::Bind { queue, exchange, routing_key, arguments, ..Default::default() };
                self.remove_binding(&BindingKey::of_queue(&bind));
            }
            _ => {}
        }
    }

    /// Notes that the last consumer of a queue that this connection knows of is gone.
    pub(crate) fn last_consumer_gone(&mut self, queue: &ShortString) {
        if self.queues.get(queue).is_some_and(|recorded| recorded.declare.auto_delete) {
            self.remove_queue(queue);
        }
    }

    pub(crate) fn exchanges(&self) -> Vec<exchange::Declare> {
        self.exchanges.values().cloned().collect()
    }

    pub(crate) fn queues(&self) -> Vec<RecordedQueue> {
        self.queues.values().cloned().collect()
    }

    /// Returns the bindings; those between exchanges come first.
    pub(crate) fn bindings(&self) -> Vec<RecordedBinding> {
        self.bindings.values().cloned().collect()
    }

    /// Returns a queue and its bindings.
    pub(crate) fn queue(&self, name: &ShortString) -> Option<(RecordedQueue, Vec<RecordedBinding>)> {
        let queue = self.queues.get(name)?.clone();
        let bindings = self.bindings.iter().filter(|(key, _)| key.of_queue && key.destination == *name);
        Some((queue, bindings.map(|(_, binding)| binding.clone()).collect()))
    }

    /// Notes that the broker has given a queue another name.
    pub(crate) fn rename_queue(&mut self, old: &ShortString, new: &ShortString) {
        if let Some(mut recorded) = self.queues.remove(old) {
            recorded.declare.queue = new.clone();
            self.queues.insert(new.clone(), recorded);
        }
        let is_its = |key: &BindingKey, _: &mut RecordedBinding| key.of_queue && key.destination == *old;
        let moved: Vec<_> = self.bindings.extract_if(.., is_its).collect();
        for (key, mut binding) in moved {
            if let RecordedBinding::Queue(bind) = &mut binding {
                bind.queue = new.clone();
            }
            self.bindings.insert(BindingKey { destination: new.clone(), ..key }, binding);
        }
    }

    fn remove_queue(&mut self, name: &ShortString) {
        self.queues.remove(name);
        self.remove_bindings(|key| key.of_queue && key.destination == *name);
    }

    fn remove_exchange(&mut self, name: &ShortString) {
        self.exchanges.remove(name);
        self.remove_bindings(|key| key.source == *name || (!key.of_queue && key.destination == *name));
    }

    fn remove_binding(&mut self, key: &BindingKey) {
        if self.bindings.remove(key).is_some() {
            self.binding_gone(&key.source);
        }
    }

    fn remove_bindings(&mut self, is_gone: impl Fn(&BindingKey) -> bool) {
        let gone: Vec<_> = self.bindings.extract_if(.., |key, _| is_gone(key)).collect();
        gone.iter().for_each(|(key, _)| self.binding_gone(&key.source));
    }

    /// Notes that a binding is gone, and an auto-delete exchange with its last one.
    fn binding_gone(&mut self, source: &ShortString) {
        let is_auto_delete = self.exchanges.get(source).is_some_and(|declare| declare.auto_delete);
        if is_auto_delete && !self.bindings.keys().any(|key| key.source == *source) {
            self.remove_exchange(source);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn short(text: &'static str) -> ShortString {
        ShortString::from_static(text)
    }

    fn declare_queue(registry: &mut Registry, name: &'static str, auto_delete: bool) {
        let declare = queue::Declare { queue: short(name), auto_delete, ..Default::default() };
        registry.apply(declare.into(), Some(&short(if name.is_empty() { "amq.gen-1" } else { name })));
    }

    fn declare_exchange(registry: &mut Registry, name: &'static str, auto_delete: bool) {
        let declare = exchange::Declare { exchange: short(name), auto_delete, ..Default::default() };
        registry.apply(declare.into(), None);
    }

    fn bind(registry: &mut Registry, queue: &'static str, exchange: &'static str) {
        let bind = queue::Bind { queue: short(queue), exchange: short(exchange), ..Default::default() };
        registry.apply(bind.into(), None);
    }

    fn counts(registry: &Registry) -> (usize, usize, usize) {
        (registry.exchanges.len(), registry.queues.len(), registry.bindings.len())
    }

    #[test]
    fn what_is_deleted_takes_its_bindings_along() {
        let mut registry = Registry::default();
        declare_exchange(&mut registry, "e", false);
        declare_queue(&mut registry, "q", false);
        bind(&mut registry, "q", "e");
        bind(&mut registry, "q", "e");
        assert_eq!(counts(&registry), (1, 1, 1));
        registry.apply(queue::Delete { queue: short("q"), ..Default::default() }.into(), None);
        assert_eq!(counts(&registry), (1, 0, 0));
        registry.apply(exchange::Delete { exchange: short("e"), ..Default::default() }.into(), None);
        assert_eq!(counts(&registry), (0, 0, 0));
    }

    #[test]
    fn auto_delete_entities_go_with_their_last_consumer_and_binding() {
        let mut registry = Registry::default();
        declare_exchange(&mut registry, "from", true);
        declare_exchange(&mut registry, "e", true);
        let bind_exchange =
            exchange::Bind { source: short("from"), destination: short("e"), ..Default::default() };
        registry.apply(bind_exchange.into(), None);
        declare_queue(&mut registry, "q", true);
        declare_queue(&mut registry, "other", false);
        bind(&mut registry, "q", "e");
        registry.last_consumer_gone(&short("other"));
        assert_eq!(counts(&registry), (2, 2, 2));
        registry.last_consumer_gone(&short("q"));
        assert_eq!(counts(&registry), (0, 1, 0), "the exchanges go one after the other");
    }

    #[test]
    fn an_unbind_takes_the_binding_with_the_same_arguments_only() {
        let mut registry = Registry::default();
        bind(&mut registry, "q", "e");
        let other = queue::Unbind {
            queue: short("q"),
            exchange: short("e"),
            routing_key: short("k"),
            ..Default::default()
        };
        registry.apply(other.into(), None);
        assert_eq!(counts(&registry).2, 1);
        let same = queue::Unbind { queue: short("q"), exchange: short("e"), ..Default::default() };
        registry.apply(same.into(), None);
        assert_eq!(counts(&registry).2, 0);
    }

    #[test]
    fn a_new_name_runs_through_the_bindings() {
        let mut registry = Registry::default();
        declare_queue(&mut registry, "", false);
        bind(&mut registry, "amq.gen-1", "e");
        registry.rename_queue(&short("amq.gen-1"), &short("amq.gen-2"));
        let (queue, bindings) = registry.queue(&short("amq.gen-2")).unwrap();
        assert!(queue.server_named);
        assert!(matches!(&bindings[..], [RecordedBinding::Queue(bind)] if bind.queue == short("amq.gen-2")));
        assert!(registry.queue(&short("amq.gen-1")).is_none());
    }

    #[test]
    fn passive_declarations_record_nothing() {
        let mut registry = Registry::default();
        let passive = queue::Declare { queue: short("q"), passive: true, ..Default::default() };
        registry.apply(passive.into(), Some(&short("q")));
        assert_eq!(counts(&registry), (0, 0, 0));
    }
}
