//! Publishing messages.

use amqp_codec::{
    Array, ContentHeader, FRAME_OVERHEAD, Frame, Properties, ShortString, Table, Value,
    content::body_frame_sizes, method::basic,
};
use bytes::Bytes;

use super::declaring::put;
use crate::client::{channel::Mode, state::State, step::Step};
use crate::{choices::Choices, pools::text};

/// The name that stands for the replies to a channel
/// (<https://www.rabbitmq.com/docs/direct-reply-to>).
pub(crate) const REPLIES: &str = "amq.rabbitmq.reply-to";

const CLASS: u16 = 60;

/// Publishes a message, to an exchange or to a queue by its name.
pub(crate) fn publish(state: &mut State, number: u16, choices: &mut Choices<'_>) -> Option<Step> {
    let exchange = match choices.below(3) {
        0 => None,
        _ => state.exchange(number, choices, |exchange| !exchange.declared.internal),
    };
    let (exchange, routing_key) = match exchange {
        Some(exchange) => (exchange.declared.exchange, choices.pick(&state.options.pools.keys)?.clone()),
        None if !state.reply_addresses.is_empty() && choices.one_in(4) => {
            (ShortString::EMPTY, choices.pick(&state.reply_addresses)?.clone())
        }
        None => {
            let queue = state.queue(number, choices, |_| true);
            (ShortString::EMPTY, queue.map_or(text("nobody"), |queue| queue.declared.queue))
        }
    };
    let publish =
        basic::Publish { exchange, routing_key, mandatory: choices.one_in(4), ..Default::default() };
    let properties = properties(state, number, choices);
    let length = match choices.below(8) {
        0 => 0,
        7 => choices.below(state.options.most_body + 1),
        _ => choices.below(100).min(state.options.most_body),
    };
    Some(content(state, number, publish, &properties, length, choices))
}

/// The frames of a message with a body of `length` bytes, now and then in more parts than needed.
pub(crate) fn content(
    state: &mut State,
    number: u16,
    publish: basic::Publish,
    properties: &Properties,
    length: usize,
    choices: &mut Choices<'_>,
) -> Step {
    let mut step = state.tell(number, publish);
    let header = ContentHeader {
        class_id: CLASS,
        body_size: length as u64,
        properties: properties.encode().unwrap_or_default(),
    };
    step.frames.push(Frame::Header(number, header));
    let filler = choices.octet();
    let most = if choices.one_in(6) { FRAME_OVERHEAD + choices.below(500) + 50 } else { state.frame_max };
    let parts = body_frame_sizes(length, most);
    step.frames.extend(parts.map(|size| Frame::Body(number, Bytes::from(vec![filler; size]))));
    if let Some(channel) = state.channels.get_mut(&number) {
        channel.published += 1;
        if channel.mode == Mode::Confirm {
            channel.unconfirmed.insert(channel.published);
        }
    }
    step
}

fn properties(state: &State, number: u16, choices: &mut Choices<'_>) -> Properties {
    let mut properties = Properties::default();
    if choices.one_in(3) {
        return properties;
    }
    let word = |choices: &mut Choices<'_>| choices.one_in(4).then(|| text("a word"));
    properties.content_type = choices.one_in(3).then(|| text("application/json"));
    properties.content_encoding = word(choices);
    properties.correlation_id = word(choices);
    properties.message_id = word(choices);
    properties.kind = word(choices);
    properties.app_id = word(choices);
    properties.cluster_id = word(choices);
    properties.delivery_mode = choices.one_in(2).then(|| choices.below(2) as u8 + 1);
    properties.priority = choices.one_in(4).then(|| choices.octet());
    properties.timestamp = choices.one_in(4).then(|| choices.number());
    properties.expiration = choices.one_in(6).then(|| text(&choices.below(100_000).to_string()));
    properties.user_id = choices.one_in(6).then(|| text(&state.options.user));
    let has_replies = state.channels.get(&number).is_some_and(|channel| channel.replies.is_some());
    properties.reply_to = match has_replies && choices.one_in(2) {
        true => Some(ShortString::from_static(REPLIES)),
        false => word(choices),
    };
    properties.headers = choices.one_in(2).then(|| headers(state, choices));
    properties
}

/// Headers that brokers look at, and any others.
fn headers(state: &State, choices: &mut Choices<'_>) -> Table {
    let mut headers = match choices.one_in(3) {
        true => choices.arbitrary::<Table>(40).unwrap_or_default(),
        false => Table::new(),
    };
    // What is arbitrary may have a name that brokers read, with a value that they refuse.
    for name in ["CC", "BCC"] {
        headers.remove(name);
    }
    if choices.one_in(2) {
        put(&mut headers, "number", choices.below(3) as i32);
    }
    if choices.one_in(3) {
        put(&mut headers, "kind", *choices.pick(&["a", "b"]).unwrap_or(&"a"));
    }
    if choices.one_in(6) {
        let mut copies = Array::new();
        for key in state.options.pools.queues.iter().take(choices.below(4)) {
            let _ = copies.push(Value::LongString(key.clone().into_bytes().into()));
        }
        put(&mut headers, choices.pick(&["CC", "BCC"]).unwrap_or(&"CC"), copies);
    }
    headers
}
