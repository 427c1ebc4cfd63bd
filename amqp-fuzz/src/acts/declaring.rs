//! Declaring, purging and deleting queues and exchanges.

use amqp_codec::{
    ShortString, Table, Value,
    method::{exchange, queue},
};

use crate::client::{
    channel::Effect,
    state::State,
    step::Step,
    topology::{Exchange, Queue, QueueKind},
};
use crate::{choices::Choices, pools::text};

const AN_HOUR: i32 = 3_600_000;

/// Declares a queue that is not there yet.
pub(crate) fn new_queue(state: &mut State, number: u16, choices: &mut Choices<'_>) -> Option<Step> {
    let unused: Vec<_> =
        state.options.pools.queues.iter().filter(|name| state.is_unused(name)).cloned().collect();
    let name = choices.pick(&unused)?.clone();
    let (kind, single_active, mut declare) = any_queue(state, choices);
    // Only the broker's answer tells the name that it makes.
    let is_unnamed = state.options.is_told && kind == QueueKind::Classic && choices.one_in(6);
    declare.queue = if is_unnamed { ShortString::EMPTY } else { name };
    declare.no_wait = !is_unnamed && choices.one_in(5);
    let queue = Queue { declared: queue::Declare { no_wait: false, ..declare.clone() }, kind, single_active };
    if declare.no_wait {
        state.coming.push((number, declare.queue.clone()));
    }
    let wait = !declare.no_wait;
    Some(state.request(number, declare, wait, Effect::Declared(Box::new(queue))))
}

/// Declares a queue as it is, or asks whether it is there.
pub(crate) fn known_queue(state: &mut State, number: u16, choices: &mut Choices<'_>) -> Option<Step> {
    let mut declare = state.queue(number, choices, |_| true)?.declared;
    // A name that the broker has made cannot be declared, only asked for.
    declare.passive = declare.queue.as_bytes().starts_with(b"amq.") || choices.one_in(2);
    let effect = Effect::Found;
    Some(state.request(number, declare, true, effect))
}

pub(crate) fn purge(state: &mut State, number: u16, choices: &mut Choices<'_>) -> Option<Step> {
    let queue = state.queue(number, choices, |queue| queue.kind != QueueKind::Stream)?;
    let no_wait = choices.one_in(4);
    let purge =
        queue::Purge { queue: current(state, number, queue.declared.queue, choices), no_wait, ticket: 0 };
    Some(state.request(number, purge, !no_wait, Effect::None))
}

/// Deletes a queue. Others must not be using it meanwhile.
pub(crate) fn delete_queue(state: &mut State, number: u16, choices: &mut Choices<'_>) -> Option<Step> {
    let queue = state.queue(number, choices, |_| true)?;
    let name = queue.declared.queue;
    let if_unused = state.consumers_of(&name).0 == 0 && queue.kind == QueueKind::Classic && choices.one_in(2);
    let delete =
        queue::Delete { queue: name.clone(), if_unused, no_wait: choices.one_in(4), ..Default::default() };
    state.remove_queue(number, &name);
    let wait = !delete.no_wait;
    Some(state.request(number, delete, wait, Effect::None))
}

/// Declares a queue and deletes it while it is empty.
pub(crate) fn short_life(state: &mut State, number: u16, choices: &mut Choices<'_>) -> Option<Step> {
    let unused: Vec<_> =
        state.options.pools.queues.iter().filter(|name| state.is_unused(name)).cloned().collect();
    let queue = choices.pick(&unused)?.clone();
    let declare =
        queue::Declare { queue: queue.clone(), exclusive: true, no_wait: true, ..Default::default() };
    let mut step = state.tell(number, declare);
    let delete = queue::Delete { queue, if_unused: true, if_empty: true, ..Default::default() };
    // The broker remembers the last declared queue of the channel, although it is gone.
    if let Some(channel) = state.channels.get_mut(&number) {
        channel.current_queue = None;
    }
    step.frames.extend(state.request(number, delete, true, Effect::None).frames);
    Some(step)
}

/// Declares an exchange that is not there yet.
pub(crate) fn new_exchange(state: &mut State, number: u16, choices: &mut Choices<'_>) -> Option<Step> {
    let pool = &state.options.pools.exchanges;
    let unused: Vec<_> = pool.iter().filter(|name| state.is_unused(name)).cloned().collect();
    let exchange = choices.pick(&unused)?.clone();
    let kind = text(choices.pick(&["direct", "fanout", "topic", "headers"])?);
    let mut arguments = Table::new();
    if choices.one_in(4)
        && let Some(alternate) = choices.pick(pool)
    {
        put(&mut arguments, "alternate-exchange", Value::LongString(alternate.clone().into_bytes().into()));
    }
    let declare = exchange::Declare {
        exchange,
        kind,
        durable: choices.one_in(2),
        auto_delete: choices.one_in(4),
        internal: choices.one_in(6),
        no_wait: choices.one_in(5),
        arguments,
        ..Default::default()
    };
    let wait = !declare.no_wait;
    if declare.no_wait {
        state.coming.push((number, declare.exchange.clone()));
    }
    let declared = exchange::Declare { no_wait: false, ..declare.clone() };
    let effect = Effect::DeclaredExchange(Box::new(Exchange { declared, is_system: false }));
    Some(state.request(number, declare, wait, effect))
}

/// Declares an exchange as it is, or asks whether it is there.
pub(crate) fn known_exchange(state: &mut State, number: u16, choices: &mut Choices<'_>) -> Option<Step> {
    let mut declare = state.exchange(number, choices, |_| true)?.declared;
    declare.passive = choices.one_in(2);
    Some(state.request(number, declare, true, Effect::None))
}

/// Deletes an exchange. Others must not be using it meanwhile.
pub(crate) fn delete_exchange(state: &mut State, number: u16, choices: &mut Choices<'_>) -> Option<Step> {
    let exchange = state.exchange(number, choices, |exchange| !exchange.is_system)?.declared.exchange;
    let if_unused = !state.topology.is_used(&exchange) && choices.one_in(2);
    let gone = state.topology.remove_exchange(&exchange);
    state.leave(number, gone);
    let no_wait = choices.one_in(4);
    let delete = exchange::Delete { exchange, if_unused, no_wait, ticket: 0 };
    Some(state.request(number, delete, !no_wait, Effect::None))
}

/// Leaves the name out, now and then, if it is that of the channel's current queue.
pub(crate) fn current(
    state: &State,
    number: u16,
    name: ShortString,
    choices: &mut Choices<'_>,
) -> ShortString {
    let current = state.channels.get(&number).and_then(|channel| channel.current_queue.as_ref());
    if current == Some(&name) && choices.one_in(2) { ShortString::EMPTY } else { name }
}

/// The kind of a queue, whether only one of its consumers is active, and its declaration without a
/// name.
fn any_queue(state: &State, choices: &mut Choices<'_>) -> (QueueKind, bool, queue::Declare) {
    let mut arguments = Table::new();
    let kind = match choices.below(8) {
        6 => QueueKind::Quorum,
        7 => QueueKind::Stream,
        _ => QueueKind::Classic,
    };
    let is_classic = kind == QueueKind::Classic;
    match kind {
        QueueKind::Classic if choices.one_in(6) => put(&mut arguments, "x-queue-type", "classic"),
        QueueKind::Classic => {}
        QueueKind::Quorum => put(&mut arguments, "x-queue-type", "quorum"),
        QueueKind::Stream => put(&mut arguments, "x-queue-type", "stream"),
    }
    if kind == QueueKind::Stream {
        if choices.one_in(2) {
            put(&mut arguments, "x-max-length-bytes", 20_000_i64);
        }
        let declare = queue::Declare { durable: true, arguments, ..Default::default() };
        return (kind, false, declare);
    }
    if choices.one_in(5) {
        put(&mut arguments, "x-max-length", choices.below(20) as i32 + 1);
        let overflow =
            if is_classic { ["drop-head", "reject-publish", "reject-publish-dlx"] } else { ["drop-head"; 3] };
        put(&mut arguments, "x-overflow", choices.pick(&overflow).copied().unwrap_or_default());
    }
    if choices.one_in(8) {
        put(&mut arguments, "x-max-length-bytes", choices.below(20_000) as i32);
    }
    if choices.one_in(6) {
        put(
            &mut arguments,
            "x-message-ttl",
            choices.pick(&[0, 1, 1000, AN_HOUR]).copied().unwrap_or(AN_HOUR),
        );
    }
    if choices.one_in(10) {
        put(&mut arguments, "x-expires", AN_HOUR);
    }
    if choices.one_in(3)
        && let Some(exchange) = choices.pick(&state.options.pools.exchanges)
    {
        put(
            &mut arguments,
            "x-dead-letter-exchange",
            Value::LongString(exchange.clone().into_bytes().into()),
        );
        if choices.one_in(2)
            && let Some(key) = choices.pick(&state.options.pools.keys)
        {
            put(
                &mut arguments,
                "x-dead-letter-routing-key",
                Value::LongString(key.clone().into_bytes().into()),
            );
        }
    }
    let single_active = choices.one_in(8);
    if single_active {
        put(&mut arguments, "x-single-active-consumer", true);
    }
    if is_classic && choices.one_in(5) {
        put(&mut arguments, "x-max-priority", choices.below(10) as i32 + 1);
    }
    if kind == QueueKind::Quorum && choices.one_in(3) {
        put(&mut arguments, "x-delivery-limit", choices.below(4) as i32);
    }
    let (durable, exclusive) =
        if is_classic { (choices.one_in(2), choices.one_in(3)) } else { (true, false) };
    let auto_delete = is_classic && choices.one_in(4);
    (kind, single_active, queue::Declare { durable, exclusive, auto_delete, arguments, ..Default::default() })
}

/// Puts an argument; the names are short and nothing is nested.
pub(crate) fn put(table: &mut Table, name: &str, value: impl Into<Value>) {
    let _ = table.insert(name, value);
}
