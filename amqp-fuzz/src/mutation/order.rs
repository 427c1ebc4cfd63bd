//! Changes of the order of frames: methods out of state, content interleaved, closes that cross.

use amqp_codec::{
    Frame, FrameKind, Method,
    method::{basic, channel, confirm, connection, tx},
};

use super::change::{Change, Level};
use crate::{choices::Choices, pools::text, wire_frame::WireFrame};

/// The most octets that an arbitrary method is made of.
const MATERIAL: usize = 60;

/// Changes the order of frames in one way. `past` has frames that were sent before.
pub(super) fn mutate(
    frames: &mut Vec<WireFrame>,
    past: &[WireFrame],
    channels: &[u16],
    choices: &mut Choices<'_>,
) -> Option<Change> {
    let at = choices.below(frames.len());
    let change = |what: &str| Some(Change { level: Level::Order, frame: at, what: what.to_owned() });
    match choices.below(8) {
        0 => {
            let copy = frames.get(at)?.clone();
            frames.insert(at, copy);
            change("doubled")
        }
        1 => {
            frames.remove(at);
            change("left out")
        }
        2 => {
            let to = choices.below(frames.len());
            frames.swap(at, to);
            change(&format!("exchanged with frame {to}"))
        }
        3 => {
            let mut again = choices.pick(past)?.clone();
            if choices.one_in(2) {
                again.channel = *choices.pick(channels)?;
            }
            frames.insert(at, again);
            change("before it an earlier one again")
        }
        4 => {
            let channel = frames.get(at)?.channel;
            let method = out_of_state(choices)?;
            let name = method.name();
            frames.insert(at, WireFrame::of(&Frame::Method(channel, method)));
            change(&format!("before it {name}"))
        }
        5 => {
            let method: Method = choices.arbitrary(MATERIAL)?;
            let channel = *choices.pick(channels)?;
            let channel = if matches!(method, Method::Connection(_)) { 0 } else { channel };
            let name = method.name();
            frames.insert(at, WireFrame::of(&Frame::Method(channel, method)));
            change(&format!("before it {name} on channel {channel}"))
        }
        6 => {
            // Within the content of another message of the same channel, or of another channel.
            let content = past.iter().rev().find(|frame| frame.kind != FrameKind::Method.octet())?.clone();
            let after = frames.iter().position(|frame| frame.kind != FrameKind::Method.octet())?;
            frames.insert(after, content);
            Some(Change {
                level: Level::Order,
                frame: after,
                what: "before it content of another".to_owned(),
            })
        }
        _ => {
            let channel = frames.get(at)?.channel;
            let reply_text = text("crossed");
            let (channel, close): (u16, Method) = match choices.below(4) {
                0 => (0, connection::Close { reply_code: 200, reply_text, ..Default::default() }.into()),
                1 => (channel, channel::CloseOk {}.into()),
                _ => (channel, channel::Close { reply_code: 200, reply_text, ..Default::default() }.into()),
            };
            let name = close.name();
            frames.insert(at, WireFrame::of(&Frame::Method(channel, close)));
            change(&format!("before it {name}"))
        }
    }
}

/// A method that is valid in one state of a channel, and not in the others.
fn out_of_state(choices: &mut Choices<'_>) -> Option<Method> {
    let methods: [Method; 14] = [
        channel::Open::default().into(),
        channel::FlowOk { active: true }.into(),
        channel::Flow { active: false }.into(),
        confirm::Select { no_wait: true }.into(),
        tx::Select {}.into(),
        tx::Commit {}.into(),
        tx::Rollback {}.into(),
        basic::Recover { requeue: false }.into(),
        basic::RecoverAsync { requeue: true }.into(),
        basic::Ack { delivery_tag: 0, multiple: true }.into(),
        basic::Nack { delivery_tag: 1, multiple: true, requeue: true }.into(),
        basic::CancelOk { consumer_tag: text("consumer-1") }.into(),
        basic::Cancel { consumer_tag: text("consumer-1"), no_wait: false }.into(),
        basic::Publish { immediate: true, ..Default::default() }.into(),
    ];
    choices.pick(&methods).cloned()
}
