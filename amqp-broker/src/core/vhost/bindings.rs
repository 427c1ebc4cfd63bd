//! The bindings between entities that have been found, and the account of them.

use amqp_codec::{ShortString, Table};

use super::Vhost;
use crate::core::{
    entities::{
        exchange::{Destination, Sources},
        ids::ExchangeId,
    },
    rabbitmq::refusal::Refusal,
};

impl Vhost {
    /// Adds a binding between entities that have been found.
    pub(super) fn bind_found(
        &mut self,
        source: ExchangeId,
        destination: Destination,
        key: &ShortString,
        arguments: &Table,
    ) -> Result<(), Refusal> {
        let Some(exchange) = self.exchanges.get_mut(source) else { return Ok(()) };
        let Some(number) = exchange.bind(destination, key, arguments)? else { return Ok(()) };
        self.entities_weight += exchange.binding_weight(key, arguments);
        self.bindings += 1;
        if let Some(sources) = self.sources_of(destination) {
            sources.insert((source, number));
        }
        self.routes_version += 1;
        Ok(())
    }

    /// Removes a binding by its number; returns whether its source is an auto-delete exchange that
    /// has lost its last one.
    pub(super) fn unbind_found(&mut self, source: ExchangeId, number: u64) -> bool {
        let Some(exchange) = self.exchanges.get_mut(source) else { return false };
        let bound = exchange.unbind(number);
        let is_to_go = exchange.declared.auto_delete && exchange.is_unbound();
        if let Some(bound) = bound {
            self.entities_weight -= exchange.binding_weight(&bound.key, &bound.arguments);
            self.bindings -= 1;
            self.routes_version += 1;
            self.forget_source(bound.destination, (source, number));
        }
        is_to_go
    }

    /// Forgets at its destination a binding that is gone.
    pub(super) fn forget_source(&mut self, destination: Destination, source: (ExchangeId, u64)) {
        if let Some(sources) = self.sources_of(destination) {
            sources.remove(&source);
        }
    }

    /// The bindings that lead to a destination, if it still exists.
    fn sources_of(&mut self, destination: Destination) -> Option<&mut Sources> {
        match destination {
            Destination::Queue(id) => self.queues.get_mut(id).map(|queue| &mut queue.sources),
            Destination::Exchange(id) => self.exchanges.get_mut(id).map(|exchange| &mut exchange.sources),
        }
    }
}
