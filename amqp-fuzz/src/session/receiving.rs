//! What a session learns from the frames of its broker.

use amqp_codec::{
    Arguments as _, Frame, Method, MethodId, ReplyCode, ShortString,
    method::{basic, channel, queue},
};

use crate::acts::publishing::REPLIES;
use crate::client::{
    channel::{Arriving, Effect},
    fault::Fault,
    state::State,
};

/// Takes a frame of a channel. Returns what to answer at once.
pub(crate) fn receive(state: &mut State, frame: &Frame, faults: &mut Vec<Fault>) -> Option<Frame> {
    match frame {
        Frame::Method(number, method) => {
            let answer = self::method(state, *number, method, faults)?;
            Some(Frame::Method(*number, answer))
        }
        Frame::Header(number, header) => {
            if let Ok(properties) = header.properties.decode()
                && let Some(address) = properties.reply_to
                && address.as_bytes().starts_with(REPLIES.as_bytes())
                && address.len() > REPLIES.len()
                && state.reply_addresses.len() < 4
            {
                state.reply_addresses.push(address);
            }
            arrive(state, *number, faults, |arriving| {
                let is_first = !arriving.has_header;
                arriving.has_header = true;
                arriving.left = header.body_size;
                is_first
            });
            None
        }
        Frame::Body(number, body) => {
            arrive(state, *number, faults, |arriving| {
                let fits = arriving.has_header && body.len() as u64 <= arriving.left;
                arriving.left = arriving.left.saturating_sub(body.len() as u64);
                fits
            });
            None
        }
        Frame::Heartbeat(_) => None,
    }
}

/// A part of a message has come.
fn arrive(state: &mut State, number: u16, faults: &mut Vec<Fault>, take: impl FnOnce(&mut Arriving) -> bool) {
    let Some(channel) = state.channels.get_mut(&number) else {
        return faults.push(Fault::NoChannel { channel: number });
    };
    let fits = channel.arriving.as_mut().is_some_and(take);
    if !fits {
        faults.push(Fault::Content { channel: number });
    }
    if channel.arriving.as_ref().is_some_and(|arriving| arriving.has_header && arriving.left == 0) {
        channel.arriving = None;
    }
}

fn method(state: &mut State, number: u16, method: &Method, faults: &mut Vec<Fault>) -> Option<Method> {
    let Some(channel) = state.channels.get_mut(&number) else {
        faults.push(Fault::NoChannel { channel: number });
        return None;
    };
    if channel.arriving.is_some() {
        faults.push(Fault::Content { channel: number });
    }
    if method.has_content() {
        channel.arriving = Some(Arriving { left: 0, has_header: false });
    }
    match method {
        Method::Channel(channel::Method::Close(close)) => {
            let (code, expected) = (ReplyCode(close.reply_code), channel.doomed);
            // RabbitMQ fails a commit of which a full queue has rejected a publish.
            let may_fail = code == ReplyCode::PRECONDITION_FAILED
                && channel.pending.as_ref().is_some_and(|it| matches!(it.effect, Effect::Committed));
            if expected != Some(code) && !may_fail {
                let text = close.reply_text.clone();
                faults.push(Fault::Closed { channel: number, code, text, expected });
            }
            state.remove_channel(number);
            Some(channel::CloseOk {}.into())
        }
        Method::Channel(channel::Method::Flow(flow)) => Some(channel::FlowOk { active: flow.active }.into()),
        Method::Basic(basic::Method::Cancel(cancel)) => {
            // The queue is gone, which the session knows if it has deleted it.
            channel.consumers.remove(&cancel.consumer_tag);
            let consumer_tag = cancel.consumer_tag.clone();
            (!cancel.no_wait).then(|| basic::CancelOk { consumer_tag }.into())
        }
        Method::Basic(basic::Method::Deliver(deliver)) => {
            let no_ack = channel.consumers.get(&deliver.consumer_tag).is_none_or(|consumer| consumer.no_ack);
            // RabbitMQ numbers replies without counting them.
            if channel.replies.as_ref() != Some(&deliver.consumer_tag) {
                delivered(state, number, deliver.delivery_tag, no_ack, faults);
            }
            None
        }
        Method::Basic(basic::Method::Return(_)) => None,
        Method::Basic(basic::Method::Ack(ack)) => {
            confirmed(state, number, ack.delivery_tag, ack.multiple, faults);
            None
        }
        Method::Basic(basic::Method::Nack(nack)) => {
            confirmed(state, number, nack.delivery_tag, nack.multiple, faults);
            None
        }
        answer => {
            answered(state, number, answer, faults);
            None
        }
    }
}

fn delivered(state: &mut State, number: u16, tag: u64, no_ack: bool, faults: &mut Vec<Fault>) {
    let Some(channel) = state.channels.get_mut(&number) else { return };
    let expected = channel.last_delivery + 1;
    if tag != expected {
        faults.push(Fault::DeliveryTag { channel: number, got: tag, expected });
    }
    channel.last_delivery = tag;
    if !no_ack {
        channel.unsettled.insert(tag);
    }
}

fn confirmed(state: &mut State, number: u16, tag: u64, multiple: bool, faults: &mut Vec<Fault>) {
    let Some(channel) = state.channels.get_mut(&number) else { return };
    let is_open = if multiple {
        let later = channel.unconfirmed.split_off(&tag.saturating_add(1));
        let earlier = std::mem::replace(&mut channel.unconfirmed, later);
        tag == 0 || !earlier.is_empty()
    } else {
        channel.unconfirmed.remove(&tag)
    };
    if !is_open {
        faults.push(Fault::Confirm { channel: number, tag });
    }
}

fn answered(state: &mut State, number: u16, answer: &Method, faults: &mut Vec<Fault>) {
    let Some(channel) = state.channels.get_mut(&number) else { return };
    let id = answer.id();
    let is_awaited =
        |reply: MethodId| reply == id || (reply == basic::GetOk::ID && id == basic::GetEmpty::ID);
    let pending = channel.pending.take_if(|pending| is_awaited(pending.reply));
    let Some(pending) = pending else {
        faults.push(match channel.doomed.take() {
            Some(expected) => Fault::NotRefused { channel: number, method: id, expected },
            None => Fault::Unasked { channel: number, method: id },
        });
        return;
    };
    if let (Method::Basic(basic::Method::GetOk(got)), Effect::Got { no_ack }) = (answer, &pending.effect) {
        delivered(state, number, got.delivery_tag, *no_ack, faults);
    }
    if matches!(pending.effect, Effect::Closed) {
        state.remove_channel(number);
        return;
    }
    state.settle_names(number);
    state.apply(number, pending.effect, named(answer));
}

/// The name that a broker has chosen, or repeats.
fn named(answer: &Method) -> Option<ShortString> {
    match answer {
        Method::Queue(queue::Method::DeclareOk(ok)) => Some(ok.queue.clone()),
        Method::Basic(basic::Method::ConsumeOk(ok)) => Some(ok.consumer_tag.clone()),
        _ => None,
    }
}
