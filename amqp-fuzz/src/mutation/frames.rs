//! Changes of a frame's type, channel, size and end.

use crate::{choices::Choices, wire_frame::WireFrame};

/// Changes one part of a frame's envelope. Returns what was done.
pub(super) fn mutate(frame: &mut WireFrame, channels: &[u16], choices: &mut Choices<'_>) -> Option<String> {
    match choices.below(8) {
        0 => {
            let kind = match choices.one_in(2) {
                true => *choices.pick(&[1, 2, 3, 8])?,
                false => choices.octet(),
            };
            let before = std::mem::replace(&mut frame.kind, kind);
            Some(format!("type {before} is {kind}"))
        }
        // Most channels are never open; a mistake is more telling among those that are.
        1..=4 => {
            let channel = match choices.below(4) {
                0 => 0,
                1 => choices.number() as u16,
                _ => *choices.pick(channels)?,
            };
            let before = std::mem::replace(&mut frame.channel, channel);
            Some(format!("channel {before} is {channel}"))
        }
        5 => {
            let size = match choices.below(3) {
                0 => frame.size.wrapping_add(1),
                1 => frame.size.wrapping_sub(1),
                _ => choices.number() as u32,
            };
            let before = std::mem::replace(&mut frame.size, size);
            Some(format!("size {before} is {size}"))
        }
        6 => {
            let end = choices.octet();
            let before = std::mem::replace(&mut frame.end, end);
            Some(format!("end {before:#04x} is {end:#04x}"))
        }
        _ => {
            let length = choices.below(frame.payload.len());
            *frame = WireFrame::new(frame.kind, frame.channel, frame.payload.slice(..length));
            Some(format!("payload cut to {length} bytes, size corrected"))
        }
    }
}
