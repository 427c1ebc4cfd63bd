//! Acknowledging, refusing and recovering deliveries.

use std::collections::BTreeSet;

use amqp_codec::{Method, method::basic};

use crate::choices::Choices;
use crate::client::{
    channel::{Effect, Mode},
    state::State,
    step::Step,
};

/// Settles one delivery, or all up to it.
pub(crate) fn settle(state: &mut State, number: u16, choices: &mut Choices<'_>) -> Option<Step> {
    let channel = state.channels.get(&number)?;
    let tags: Vec<_> = channel.unsettled.iter().copied().collect();
    let all = (0, true);
    let (delivery_tag, multiple) = match choices.pick(&tags) {
        // Deliveries that are on their way would be settled too, and nothing would tell which.
        Some(_) if channel.consumers.values().all(|consumer| consumer.no_ack) && choices.one_in(3) => all,
        Some(tag) => (*tag, choices.one_in(3)),
        None if !state.options.is_told => all,
        None => return None,
    };
    let has_stream = channel.has_streamed;
    let requeue = choices.one_in(2);
    let method: Method = match choices.below(4) {
        2 if !has_stream => basic::Nack { delivery_tag, multiple, requeue }.into(),
        3 if !has_stream && !multiple => basic::Reject { delivery_tag, requeue }.into(),
        _ => basic::Ack { delivery_tag, multiple }.into(),
    };
    let channel = state.channels.get_mut(&number)?;
    let settled = match (delivery_tag, multiple) {
        (0, _) => std::mem::take(&mut channel.unsettled),
        (tag, true) => {
            let later = channel.unsettled.split_off(&(tag + 1));
            std::mem::replace(&mut channel.unsettled, later)
        }
        (tag, false) => channel.unsettled.take(&tag).into_iter().collect::<BTreeSet<_>>(),
    };
    if channel.mode == Mode::Transaction {
        channel.settled.extend(settled);
    }
    Some(state.tell(number, method))
}

/// Asks for all unsettled deliveries again.
pub(crate) fn recover(state: &mut State, number: u16, choices: &mut Choices<'_>) -> Option<Step> {
    let channel = state.channels.get_mut(&number).filter(|channel| !channel.has_streamed)?;
    // Without an answer nothing tells which deliveries came before.
    let is_silent = channel.consumers.values().all(|consumer| consumer.no_ack);
    if is_silent && choices.one_in(2) {
        channel.unsettled.clear();
        return Some(state.tell(number, basic::RecoverAsync { requeue: true }));
    }
    Some(state.request(number, basic::Recover { requeue: true }, true, Effect::Recovered))
}
