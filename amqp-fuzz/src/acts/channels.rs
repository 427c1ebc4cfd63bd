//! Opening and closing channels, and what they can be set to.

use amqp_codec::{
    Arguments as _, Frame, ReplyCode,
    method::{access, basic, channel, confirm, connection, tx},
};

use crate::client::{
    channel::{Channel, Effect, Mode, Pending},
    state::State,
    step::Step,
    topology::QueueKind,
};
use crate::{choices::Choices, pools::text};

/// Opens a channel that is not open.
pub(crate) fn open(state: &mut State, choices: &mut Choices<'_>) -> Option<Step> {
    let closed: Vec<_> = state
        .options
        .pools
        .channels
        .iter()
        .copied()
        .filter(|number| *number <= state.channel_max && !state.channels.contains_key(number))
        .collect();
    let number = *choices.pick(&closed)?;
    let pending = Pending { reply: channel::OpenOk::ID, effect: Effect::Opened };
    state.channels.insert(number, Channel::new(Some(pending)));
    Some(vec![Frame::Method(number, channel::Open::default().into())].into())
}

/// Closes a channel, and with it maybe queues: others must not be using those meanwhile.
pub(crate) fn close(state: &mut State, number: u16, _: &mut Choices<'_>) -> Option<Step> {
    state.remove_consumers(number);
    let close =
        channel::Close { reply_code: ReplyCode::SUCCESS.0, reply_text: text("done"), ..Default::default() };
    Some(state.request(number, close, true, Effect::Closed))
}

pub(crate) fn qos(state: &mut State, number: u16, choices: &mut Choices<'_>) -> Option<Step> {
    let has_logs = state.consumes_from(number, |kind| kind != QueueKind::Classic);
    let global = !has_logs && choices.one_in(4);
    let prefetch_count = choices.below(10) as u16;
    let channel = state.channels.get_mut(&number)?;
    if global {
        channel.has_global_prefetch |= prefetch_count > 0;
    } else {
        channel.prefetch = prefetch_count;
    }
    let qos = basic::Qos { prefetch_size: 0, prefetch_count, global };
    Some(state.request(number, qos, true, Effect::None))
}

pub(crate) fn flow(state: &mut State, number: u16, _: &mut Choices<'_>) -> Option<Step> {
    Some(state.request(number, channel::Flow { active: true }, true, Effect::None))
}

pub(crate) fn ticket(state: &mut State, number: u16, _: &mut Choices<'_>) -> Option<Step> {
    let request =
        access::Request { realm: text("/data"), active: true, read: true, write: true, ..Default::default() };
    Some(state.request(number, request, true, Effect::None))
}

pub(crate) fn confirms(state: &mut State, number: u16, choices: &mut Choices<'_>) -> Option<Step> {
    let channel = state.channels.get_mut(&number).filter(|channel| channel.mode != Mode::Transaction)?;
    // Publishes are numbered from the first select on.
    if channel.mode == Mode::Plain {
        channel.published = 0;
    }
    let no_wait = choices.one_in(4);
    Some(state.request(number, confirm::Select { no_wait }, !no_wait, Effect::Entered(Mode::Confirm)))
}

pub(crate) fn transactions(state: &mut State, number: u16, _: &mut Choices<'_>) -> Option<Step> {
    state.channels.get(&number).filter(|channel| channel.mode != Mode::Confirm)?;
    Some(state.request(number, tx::Select {}, true, Effect::Entered(Mode::Transaction)))
}

/// Ends a transaction either way.
pub(crate) fn complete(state: &mut State, number: u16, choices: &mut Choices<'_>) -> Option<Step> {
    state.channels.get(&number).filter(|channel| channel.mode == Mode::Transaction)?;
    Some(match choices.one_in(3) {
        true => state.request(number, tx::Rollback {}, true, Effect::RolledBack),
        false => state.request(number, tx::Commit {}, true, Effect::Committed),
    })
}

/// Replaces the connection's secret.
pub(crate) fn update_secret(state: &mut State) -> Option<Step> {
    let new_secret = state.options.password.as_str().into();
    let update = connection::UpdateSecret { new_secret, reason: text("a new token") };
    state.awaits_connection = Some(connection::UpdateSecretOk::ID);
    Some(vec![Frame::Method(0, update.into())].into())
}
