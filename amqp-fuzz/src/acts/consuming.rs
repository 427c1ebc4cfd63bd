//! Consuming, cancelling and getting.

use amqp_codec::{ShortString, Table, method::basic};

use super::{
    declaring::{current, put},
    publishing::REPLIES,
};
use crate::choices::Choices;
use crate::client::{
    channel::{Consumer, Effect},
    state::State,
    step::Step,
    topology::QueueKind,
};

/// The most consumers on a channel.
const CONSUMERS: usize = 4;

/// Starts a consumer.
pub(crate) fn consume(state: &mut State, number: u16, choices: &mut Choices<'_>) -> Option<Step> {
    let channel = state.channels.get(&number)?;
    if channel.consumers.len() >= CONSUMERS {
        return None;
    }
    let (is_limited, is_global) = (channel.prefetch > 0, channel.has_global_prefetch);
    let others_are_quiet = state.others_are_quiet(number);
    let queue = state.queue(number, choices, |queue| match queue.kind {
        QueueKind::Classic => !state.consumers_of(&queue.declared.queue).1,
        QueueKind::Quorum => !is_global && !state.consumers_of(&queue.declared.queue).1,
        QueueKind::Stream => is_limited && !is_global,
    })?;
    let name = queue.declared.queue.clone();
    let is_stream = queue.kind == QueueKind::Stream;
    let exclusive = queue.kind == QueueKind::Classic
        && !queue.single_active
        && others_are_quiet
        && state.consumers_of(&name).0 == 0
        && choices.one_in(6);
    let consumer = Consumer { queue: name.clone(), no_ack: !is_stream && choices.one_in(3), exclusive };
    let mut arguments = Table::new();
    if is_stream {
        state.channels.get_mut(&number)?.has_streamed = true;
        put(&mut arguments, "x-stream-offset", *choices.pick(&["first", "last", "next"])?);
    } else if choices.one_in(4) {
        put(&mut arguments, "x-priority", choices.below(5) as i32 - 2);
    }
    // Only the broker's answer tells the tag that it makes.
    let is_unnamed = state.options.is_told && choices.one_in(5);
    let tag = if is_unnamed { ShortString::EMPTY } else { state.new_tag() };
    let no_wait = !is_unnamed && choices.one_in(5);
    let consume = basic::Consume {
        queue: current(state, number, name, choices),
        consumer_tag: tag.clone(),
        no_ack: consumer.no_ack,
        exclusive,
        no_wait,
        arguments,
        ..Default::default()
    };
    if no_wait {
        state.apply(number, Effect::Consumes(consumer), Some(tag));
        return Some(state.tell(number, consume));
    }
    Some(state.request(number, consume, true, Effect::Consumes(consumer)))
}

/// Starts the consumer of the channel's replies, which is once at most and needs no acks.
pub(crate) fn consume_replies(state: &mut State, number: u16, _: &mut Choices<'_>) -> Option<Step> {
    let tag = state.new_tag();
    let channel = state.channels.get_mut(&number).filter(|channel| channel.replies.is_none())?;
    channel.replies = Some(tag.clone());
    let queue = ShortString::from_static(REPLIES);
    let consume =
        basic::Consume { queue: queue.clone(), consumer_tag: tag, no_ack: true, ..Default::default() };
    Some(state.request(number, consume, true, Effect::None))
}

/// Ends a consumer, and with it maybe its queue: others must not be using that meanwhile.
pub(crate) fn cancel(state: &mut State, number: u16, choices: &mut Choices<'_>) -> Option<Step> {
    let tags: Vec<_> = state.channels.get(&number)?.consumers.keys().cloned().collect();
    let consumer_tag = choices.pick(&tags)?.clone();
    state.remove_consumer(number, &consumer_tag);
    let no_wait = choices.one_in(4);
    Some(state.request(number, basic::Cancel { consumer_tag, no_wait }, !no_wait, Effect::None))
}

/// Asks for one message.
pub(crate) fn get(state: &mut State, number: u16, choices: &mut Choices<'_>) -> Option<Step> {
    let queue = state.queue(number, choices, |queue| match queue.kind {
        QueueKind::Classic => !state.consumers_of(&queue.declared.queue).1,
        QueueKind::Quorum => !queue.single_active,
        QueueKind::Stream => false,
    })?;
    let no_ack = choices.one_in(3);
    let get = basic::Get { queue: current(state, number, queue.declared.queue, choices), no_ack, ticket: 0 };
    Some(state.request(number, get, true, Effect::Got { no_ack }))
}
