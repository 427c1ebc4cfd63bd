//! What a broker must refuse by closing the channel, and with which reply code.

use amqp_codec::{
    Properties, ReplyCode, ShortString,
    method::{basic, confirm, exchange, queue, tx},
};

use super::publishing::content;
use crate::client::{
    channel::{Effect, Mode},
    state::State,
    step::Step,
    topology::QueueKind,
};
use crate::{choices::Choices, pools::text};

const MISSING: &str = "fuzz-missing";

type Refusal = fn(&mut State, u16, &mut Choices<'_>) -> Option<(ReplyCode, Step)>;

/// All of them. Each needs a free channel, and that the others are quiet.
const ALL: [Refusal; 12] = [
    missing_queue,
    missing_exchange,
    unequal_queue,
    unequal_exchange,
    unknown_tag,
    wrong_mode,
    wrong_property,
    reserved_name,
    default_exchange,
    internal_exchange,
    in_use,
    exclusive_use,
];

/// Does something that the broker refuses by closing the channel.
pub(crate) fn refused(state: &mut State, number: u16, choices: &mut Choices<'_>) -> Option<Step> {
    let refusal = choices.pick(&ALL)?;
    let (code, step) = refusal(state, number, choices)?;
    Some(state.refused(number, code, step))
}

fn missing_queue(state: &mut State, number: u16, choices: &mut Choices<'_>) -> Option<(ReplyCode, Step)> {
    let queue = text(MISSING);
    let step = match choices.below(4) {
        0 => {
            let declare =
                queue::Declare { queue, passive: true, no_wait: choices.one_in(3), ..Default::default() };
            state.tell(number, declare)
        }
        1 => state.tell(number, basic::Consume { queue, ..Default::default() }),
        2 => state.tell(number, basic::Get { queue, ..Default::default() }),
        _ => state.tell(number, queue::Purge { queue, ..Default::default() }),
    };
    Some((ReplyCode::NOT_FOUND, step))
}

fn missing_exchange(state: &mut State, number: u16, choices: &mut Choices<'_>) -> Option<(ReplyCode, Step)> {
    let exchange = text(MISSING);
    let step = match choices.below(2) {
        0 => state.tell(number, exchange::Declare { exchange, passive: true, ..Default::default() }),
        _ => {
            let publish = basic::Publish { exchange, ..Default::default() };
            content(state, number, publish, &Properties::default(), 3, choices)
        }
    };
    Some((ReplyCode::NOT_FOUND, step))
}

/// A declaration of a queue that differs. RabbitMQ does not compare whether an exclusive queue is
/// durable, and says of one that is declared shared that it is locked.
fn unequal_queue(state: &mut State, number: u16, choices: &mut Choices<'_>) -> Option<(ReplyCode, Step)> {
    let is_named = |name: &ShortString| !name.as_bytes().starts_with(b"amq.");
    let queue = state.queue(number, choices, |queue| {
        queue.kind == QueueKind::Classic && is_named(&queue.declared.queue)
    })?;
    let mut declare = queue.declared;
    let code = if declare.exclusive {
        declare.exclusive = false;
        ReplyCode::RESOURCE_LOCKED
    } else {
        declare.durable = !declare.durable;
        ReplyCode::PRECONDITION_FAILED
    };
    Some((code, state.tell(number, declare)))
}

fn unequal_exchange(state: &mut State, number: u16, choices: &mut Choices<'_>) -> Option<(ReplyCode, Step)> {
    let mut declare = state.exchange(number, choices, |exchange| !exchange.is_system)?.declared;
    declare.durable = !declare.durable;
    Some((ReplyCode::PRECONDITION_FAILED, state.tell(number, declare)))
}

fn unknown_tag(state: &mut State, number: u16, choices: &mut Choices<'_>) -> Option<(ReplyCode, Step)> {
    let delivery_tag = 1_000_000 + choices.below(100) as u64;
    let step = match choices.below(3) {
        0 => state.tell(number, basic::Ack { delivery_tag, multiple: false }),
        1 => state.tell(number, basic::Nack { delivery_tag, ..Default::default() }),
        _ => state.tell(number, basic::Reject { delivery_tag, requeue: true }),
    };
    Some((ReplyCode::PRECONDITION_FAILED, step))
}

fn wrong_mode(state: &mut State, number: u16, choices: &mut Choices<'_>) -> Option<(ReplyCode, Step)> {
    let mode = state.channels.get(&number)?.mode;
    let step = match mode {
        Mode::Confirm => state.tell(number, tx::Select {}),
        Mode::Transaction => state.tell(number, confirm::Select { no_wait: false }),
        Mode::Plain if choices.one_in(2) => state.tell(number, tx::Commit {}),
        Mode::Plain => state.tell(number, tx::Rollback {}),
    };
    Some((ReplyCode::PRECONDITION_FAILED, step))
}

fn wrong_property(state: &mut State, number: u16, choices: &mut Choices<'_>) -> Option<(ReplyCode, Step)> {
    let properties = match choices.one_in(2) {
        true => Properties { user_id: Some(text("somebody-else")), ..Default::default() },
        false => Properties { expiration: Some(text("soon")), ..Default::default() },
    };
    let publish = basic::Publish { routing_key: text(MISSING), ..Default::default() };
    let step = content(state, number, publish, &properties, 5, choices);
    Some((ReplyCode::PRECONDITION_FAILED, step))
}

fn reserved_name(state: &mut State, number: u16, choices: &mut Choices<'_>) -> Option<(ReplyCode, Step)> {
    let name = text("amq.fuzz");
    let step = match choices.one_in(2) {
        true => state.tell(number, queue::Declare { queue: name, ..Default::default() }),
        false => {
            let declare = exchange::Declare { exchange: name, kind: text("direct"), ..Default::default() };
            state.tell(number, declare)
        }
    };
    Some((ReplyCode::ACCESS_REFUSED, step))
}

fn default_exchange(state: &mut State, number: u16, choices: &mut Choices<'_>) -> Option<(ReplyCode, Step)> {
    let queue = state.queue(number, choices, |_| true)?.declared.queue;
    let step = match choices.one_in(2) {
        true => state.tell(number, queue::Bind { queue, routing_key: text("key"), ..Default::default() }),
        false => state.tell(number, exchange::Delete { exchange: text("amq.direct"), ..Default::default() }),
    };
    Some((ReplyCode::ACCESS_REFUSED, step))
}

fn internal_exchange(state: &mut State, number: u16, choices: &mut Choices<'_>) -> Option<(ReplyCode, Step)> {
    let exchange = state.exchange(number, choices, |exchange| exchange.declared.internal)?.declared.exchange;
    let publish = basic::Publish { exchange, ..Default::default() };
    let step = content(state, number, publish, &Properties::default(), 3, choices);
    Some((ReplyCode::ACCESS_REFUSED, step))
}

fn in_use(state: &mut State, number: u16, choices: &mut Choices<'_>) -> Option<(ReplyCode, Step)> {
    let is_consumed = |name: &ShortString| state.consumers_of(name).0 > 0;
    let queue = state.queue(number, choices, |queue| {
        queue.kind == QueueKind::Classic && is_consumed(&queue.declared.queue)
    })?;
    let delete = queue::Delete { queue: queue.declared.queue, if_unused: true, ..Default::default() };
    Some((ReplyCode::PRECONDITION_FAILED, state.tell(number, delete)))
}

fn exclusive_use(state: &mut State, number: u16, choices: &mut Choices<'_>) -> Option<(ReplyCode, Step)> {
    let is_consumed = |name: &ShortString| state.consumers_of(name).0 > 0;
    let queue = state.queue(number, choices, |queue| {
        queue.kind == QueueKind::Classic && !queue.single_active && is_consumed(&queue.declared.queue)
    })?;
    let consume = basic::Consume { queue: queue.declared.queue, exclusive: true, ..Default::default() };
    let tag = state.new_tag();
    let step = state.request(number, basic::Consume { consumer_tag: tag, ..consume }, true, Effect::None);
    Some((ReplyCode::ACCESS_REFUSED, step))
}
