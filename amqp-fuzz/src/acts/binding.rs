//! Binding queues and exchanges to exchanges, and the opposite.

use amqp_codec::{
    Table,
    method::{exchange, queue},
};

use super::declaring::put;
use crate::choices::Choices;
use crate::client::{
    channel::Effect,
    state::State,
    step::Step,
    topology::{Binding, Destination},
};

pub(crate) fn bind_queue(state: &mut State, number: u16, choices: &mut Choices<'_>) -> Option<Step> {
    let queue = state.queue(number, choices, |_| true)?.declared.queue;
    let binding = binding(state, number, choices, Destination::Queue(queue.clone()))?;
    let no_wait = choices.one_in(4);
    let bind = queue::Bind {
        queue,
        exchange: binding.source.clone(),
        routing_key: binding.key.clone(),
        no_wait,
        arguments: binding.arguments.clone(),
        ticket: 0,
    };
    Some(state.request(number, bind, !no_wait, Effect::Bound(binding)))
}

pub(crate) fn bind_exchange(state: &mut State, number: u16, choices: &mut Choices<'_>) -> Option<Step> {
    let destination = state.exchange(number, choices, |_| true)?.declared.exchange;
    let binding = binding(state, number, choices, Destination::Exchange(destination.clone()))?;
    let no_wait = choices.one_in(4);
    let bind = exchange::Bind {
        destination,
        source: binding.source.clone(),
        routing_key: binding.key.clone(),
        no_wait,
        arguments: binding.arguments.clone(),
        ticket: 0,
    };
    Some(state.request(number, bind, !no_wait, Effect::Bound(binding)))
}

/// Removes a binding, and with the last one of it an exchange that is deleted then.
pub(crate) fn unbind(state: &mut State, number: u16, choices: &mut Choices<'_>) -> Option<Step> {
    let binding = choices.pick(&state.topology.bindings)?.clone();
    let gone = state.topology.unbind(&binding);
    state.leave(number, gone);
    let Binding { source, destination, key: routing_key, arguments } = binding;
    Some(match destination {
        Destination::Queue(queue) => {
            let unbind = queue::Unbind { queue, exchange: source, routing_key, arguments, ticket: 0 };
            state.request(number, unbind, true, Effect::None)
        }
        Destination::Exchange(destination) => {
            let no_wait = choices.one_in(4);
            let unbind = exchange::Unbind { destination, source, routing_key, no_wait, arguments, ticket: 0 };
            state.request(number, unbind, !no_wait, Effect::None)
        }
    })
}

fn binding(
    state: &State,
    number: u16,
    choices: &mut Choices<'_>,
    destination: Destination,
) -> Option<Binding> {
    let source = state.exchange(number, choices, |_| true)?.declared;
    let mut arguments = Table::new();
    if source.kind == "headers" {
        put(&mut arguments, "x-match", *choices.pick(&["all", "any"])?);
        put(&mut arguments, "number", choices.below(3) as i32);
        if choices.one_in(2) {
            put(&mut arguments, "kind", "a");
        }
    }
    let key = choices.pick(&state.options.pools.keys)?.clone();
    Some(Binding { source: source.exchange, destination, key, arguments })
}
