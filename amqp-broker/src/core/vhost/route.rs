//! Routing from an exchange and keys to queues.

use super::Vhost;
use crate::core::{
    content::{header_table::values, keys::Keys, message::Parts, properties::Relevant},
    entities::{
        exchange::{Cursor, Destination, headers::SortedHeaders},
        ids::{ExchangeId, QueueId},
    },
    rabbitmq::refusal::Refusal,
    work::{
        publishing::Publishing,
        routing::{Found, Passed, Routing},
    },
};

impl Vhost {
    /// Begins the search for a message's queues at an exchange; `None` is the default exchange.
    pub(super) fn begin_routing(&mut self, source: Option<ExchangeId>, found: Found) -> Routing {
        self.routing += 1;
        Routing::new(self.routing, source, found)
    }

    /// Continues to search for the queues; returns whether all are found.
    pub(super) fn proceed_routing(&mut self, publishing: &mut Publishing) -> Result<bool, Refusal> {
        let Some(routing) = &mut publishing.routing else { return Ok(true) };
        let parts = publishing.draft.parts();
        let keys = Keys { first: parts.names().1, more: &publishing.keys };
        if !self.route(routing, publishing.source.is_none(), &keys, parts)? {
            return Ok(false);
        }
        if let Some(routing) = publishing.routing.take() {
            publishing.found = routing.found;
            if !publishing.is_letter {
                self.count_routed(publishing.source, publishing.found.queues.len());
            }
        }
        if !publishing.not_to.is_empty() {
            let (queues, not_to) = (&self.queues, &publishing.not_to);
            let returns =
                |id: &QueueId| queues.get(*id).is_some_and(|queue| not_to.contains(queue.name.as_bytes()));
            publishing.found.queues.retain(|id| !returns(id));
        }
        Ok(true)
    }

    /// Goes through the bindings of one exchange after the other, for all keys together. An
    /// alternate exchange follows where no binding matched. Returns whether all is found, or the
    /// turn is over.
    ///
    /// # Errors
    /// Headers that cannot be read.
    pub(super) fn route(
        &mut self,
        routing: &mut Routing,
        is_default: bool,
        keys: &Keys<'_>,
        parts: Parts<'_>,
    ) -> Result<bool, Refusal> {
        let is_done = match is_default {
            true => self.route_by_names(routing, keys),
            false => self.route_by_bindings(routing, keys, parts)?,
        };
        if !is_done && routing.passed.is_none() {
            Self::rely_on_no_marks(routing);
        }
        Ok(is_done)
    }

    /// Routes by the default exchange: each key is the name of a queue.
    fn route_by_names(&mut self, routing: &mut Routing, keys: &Keys<'_>) -> bool {
        while let Some(key) = keys.get(routing.next_key) {
            routing.next_key += 1;
            self.budget.spend(1);
            match self.queue_names.get(key) {
                Some(&id) => drop(self.visit_queue(id, routing)),
                None => routing.found.replies.extend(self.reply_channel(key)),
            }
            if self.budget.is_over() && routing.next_key < keys.len() {
                return false;
            }
        }
        true
    }

    fn route_by_bindings(
        &mut self,
        routing: &mut Routing,
        keys: &Keys<'_>,
        parts: Parts<'_>,
    ) -> Result<bool, Refusal> {
        while let Some(id) = self.next_exchange(routing) {
            let is_done = self.pass(id, routing, keys, parts)?;
            if is_done {
                self.leave_exchange(id, routing);
            }
            if self.budget.is_over() && !(is_done && routing.pending.is_empty()) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The current exchange, or the next one that was not passed yet: exchanges that are bound in a
    /// circle are passed once.
    fn next_exchange(&mut self, routing: &mut Routing) -> Option<ExchangeId> {
        while routing.current.is_none() {
            let id = routing.pending.pop()?;
            self.budget.spend(1);
            let Some(exchange) = self.exchanges.get_mut(id) else { continue };
            let is_new = match &mut routing.passed {
                Some(passed) => passed.exchanges.insert(id),
                None => std::mem::replace(&mut exchange.visited, routing.number) != routing.number,
            };
            if is_new {
                routing.exchanges.push(id);
                routing.current = Some(id);
            }
        }
        routing.current
    }

    /// Goes through the bindings of an exchange; returns whether that is all of them.
    fn pass(
        &mut self,
        id: ExchangeId,
        routing: &mut Routing,
        keys: &Keys<'_>,
        parts: Parts<'_>,
    ) -> Result<bool, Refusal> {
        // An exchange that was deleted meanwhile leads nowhere.
        let Some(exchange) = self.exchanges.get_mut(id) else { return Ok(true) };
        let no_headers = SortedHeaders::default();
        if exchange.routes_by_headers() && routing.headers.is_none() {
            self.budget.spend_octets(32 * parts.header.len());
            routing.headers = Some(decode_headers(parts)?);
        }
        let headers = routing.headers.as_ref().unwrap_or(&no_headers);
        let mut found = std::mem::take(&mut self.destinations);
        let (cursor, budget) = (&mut routing.cursor, &mut self.budget);
        let is_done = exchange.route(keys, headers, self.profile, cursor, budget, |to| found.push(to));
        for destination in found.drain(..) {
            routing.has_led |= match destination {
                Destination::Queue(id) => self.visit_queue(id, routing),
                Destination::Exchange(id) => {
                    routing.pending.push(id);
                    self.exchanges.get(id).is_some()
                }
            };
        }
        self.destinations = found;
        Ok(is_done)
    }

    /// Ends the search in an exchange, all of whose bindings have been looked at.
    fn leave_exchange(&mut self, id: ExchangeId, routing: &mut Routing) {
        routing.current = None;
        routing.cursor = Cursor::default();
        if !std::mem::take(&mut routing.has_led) {
            let alternate = self.exchanges.get(id).and_then(|exchange| exchange.alternate.as_ref());
            routing.pending.extend(alternate.and_then(|name| self.exchange_names.get(name)));
        }
    }

    /// Adds a queue to what is found, once; returns whether there is such a queue.
    fn visit_queue(&mut self, id: QueueId, routing: &mut Routing) -> bool {
        let Some(queue) = self.queues.get_mut(id) else { return false };
        let is_new = match &mut routing.passed {
            Some(passed) => passed.queues.insert(id),
            None => std::mem::replace(&mut queue.visited, routing.number) != routing.number,
        };
        if is_new {
            routing.found.queues.push(id);
        }
        true
    }

    /// Prepares an interruption: other searches will overwrite the marks, so what has been passed
    /// is remembered in a set.
    fn rely_on_no_marks(routing: &mut Routing) {
        routing.passed = Some(Passed {
            queues: routing.found.queues.iter().copied().collect(),
            exchanges: routing.exchanges.iter().copied().collect(),
        });
    }
}

fn decode_headers(parts: Parts<'_>) -> Result<SortedHeaders, Refusal> {
    let relevant = Relevant::find(parts.properties()).map_err(Refusal::Syntax)?;
    let headers = relevant.headers.map_or(Ok(Vec::new()), values).map_err(Refusal::Syntax)?;
    Ok(SortedHeaders::new(headers))
}
