//! Changes of one argument or property: its length, its bits, its text, the entries of a table.

use amqp_codec::{FrameKind, Properties, content::CONTENT_HEADER_LEN};
use bytes::{BufMut as _, Bytes, BytesMut};

use crate::{
    acts::violations::nested,
    arguments::{
        argument::{self, Argument, Found},
        properties,
    },
    choices::Choices,
    wire_frame::WireFrame,
};

/// Names and keys that brokers treat differently.
const TEXTS: [&[u8]; 14] = [
    b"",
    b"amq.direct",
    b"amq.rabbitmq.trace",
    b"amq.rabbitmq.reply-to",
    b"amq.rabbitmq.reply-to.g1h2AA5yZXBseUAx",
    b"amq.gen-",
    b"#",
    b"a.#.#.*.#",
    b".",
    b"fanout",
    b"x-delayed-message",
    b"\xff\xfe",
    b"a\0b",
    b"0",
];

/// Entries of tables: arguments with values of the wrong type or size, and what no reader expects.
const ENTRIES: [&[u8]; 16] = [
    b"\x0cx-queue-typeS\0\0\0\x07mystery",
    b"\x0cx-queue-typeI\0\0\0\x01",
    b"\x0cx-max-lengthl\xff\xff\xff\xff\xff\xff\xff\xff",
    b"\x0cx-max-lengthI\0\0\0\0",
    b"\x0dx-message-ttll\x7f\xff\xff\xff\xff\xff\xff\xff",
    b"\x09x-expiresI\0\0\0\0",
    b"\x0ex-max-priorityB\xff",
    b"\x16x-dead-letter-exchangeS\0\0\0\0",
    b"\x0ax-priorityS\0\0\0\x01x",
    b"\x0fx-stream-offsetT\0\0\0\0\0\0\0\x01",
    b"\x07x-matchS\0\0\0\x04some",
    b"\x02CCI\0\0\0\x01",
    b"\x03BCCA\0\0\0\x05S\0\0\0\0",
    b"\x01aD\xff\xff\xff\xff\xff",
    b"\x00V",
    b"\x01a?",
];

/// Changes one argument of a method, or one property. Returns what was done; `None` when the frame
/// has none.
pub(super) fn mutate(frame: &mut WireFrame, choices: &mut Choices<'_>) -> Option<String> {
    let is = |kind: FrameKind| frame.kind == kind.octet();
    let found = if is(FrameKind::Method) {
        argument::read(&frame.payload)?.1
    } else if is(FrameKind::Header) {
        return header(frame, choices);
    } else {
        return None;
    };
    let found = choices.pick(&found)?;
    let (replacement, what) = replacement(found, &frame.payload, choices)?;
    replace(frame, found.range.clone(), &replacement);
    Some(format!("{}: {what}", found.field.name))
}

/// A content header: its class, its size, its flags, or one of its properties.
fn header(frame: &mut WireFrame, choices: &mut Choices<'_>) -> Option<String> {
    let properties = properties::read(&frame.payload, CONTENT_HEADER_LEN)?;
    match choices.below(6) {
        0 => {
            let class = *choices.pick(&[0_u16, 10, 50, 61, 90])?;
            replace(frame, 0..2, &class.to_be_bytes());
            Some(format!("class is {class}"))
        }
        1 | 2 => {
            let size = choices.number();
            replace(frame, 4..12, &size.to_be_bytes());
            Some(format!("body_size is {size}"))
        }
        3 => {
            let (bit, at) = (choices.below(16), CONTENT_HEADER_LEN);
            let flags =
                u16::from_be_bytes([*frame.payload.get(at)?, *frame.payload.get(at + 1)?]) ^ (1 << bit);
            replace(frame, at..at + 2, &flags.to_be_bytes());
            let name = Properties::FIELDS.get(15 - bit).map_or("no property", |field| field.name);
            Some(format!("the flag of {name} flipped"))
        }
        _ => {
            let found = choices.pick(&properties)?;
            let (replacement, what) = replacement(found, &frame.payload, choices)?;
            replace(frame, found.range.clone(), &replacement);
            Some(format!("{}: {what}", found.field.name))
        }
    }
}

/// The octets to put in an argument's place, and what is wrong or new in them.
fn replacement(found: &Found, payload: &Bytes, choices: &mut Choices<'_>) -> Option<(Vec<u8>, String)> {
    match &found.value {
        Argument::Bit(bit) => {
            let octet = payload.get(found.range.start)? ^ (1 << found.bit);
            Some((vec![octet], format!("{bit} is {}", !bit)))
        }
        Argument::Number(before) => {
            let number = match choices.below(4) {
                0 => before.wrapping_add(1),
                1 => before.wrapping_sub(1),
                _ => choices.number(),
            };
            let octets = number.to_be_bytes();
            let octets = octets.get(octets.len() - found.range.len()..)?.to_vec();
            Some((octets, format!("{before} is {number}, as far as it fits")))
        }
        Argument::ShortString(text) => {
            if choices.one_in(5) {
                return wrong_length(found, payload, 1, choices);
            }
            let text = match choices.below(4) {
                0 => vec![b'x'; 255],
                1 => [text.as_bytes(), &choices.octets(1)].concat(),
                _ => choices.pick(&TEXTS)?.to_vec(),
            };
            let length = text.len().min(255);
            let text = text.get(..length)?;
            Some(([&[length as u8], text].concat(), format!("\"{}\"", text.escape_ascii())))
        }
        Argument::LongString(bytes) => {
            if choices.one_in(5) {
                return wrong_length(found, payload, 4, choices);
            }
            let mut changed = bytes.to_vec();
            let what = super::bytes::mutate(&mut changed, choices)?;
            Some((long(&changed), what))
        }
        Argument::Table(table) => {
            let entries = table.as_encoded();
            match choices.below(6) {
                0 => wrong_length(found, payload, 4, choices),
                1 => {
                    let depth = choices.below(70) + 1;
                    Some((long(&nested(depth)), format!("tables {depth} deep")))
                }
                2 => {
                    let mut changed = entries.to_vec();
                    let what = super::bytes::mutate(&mut changed, choices)?;
                    Some((long(&changed), what))
                }
                3 => Some((long(&[&entries[..], entries].concat()), "all entries twice".to_owned())),
                _ => {
                    let entry = *choices.pick(&ENTRIES)?;
                    let what = format!("with \"{}\"", entry.escape_ascii());
                    Some((long(&[entries, entry].concat()), what))
                }
            }
        }
    }
}

/// The argument with a length of `octets` octets that is not its own.
fn wrong_length(
    found: &Found,
    payload: &Bytes,
    octets: usize,
    choices: &mut Choices<'_>,
) -> Option<(Vec<u8>, String)> {
    let mut changed = payload.get(found.range.clone())?.to_vec();
    let length = choices.number();
    let field = length.to_be_bytes();
    changed.get_mut(..octets)?.copy_from_slice(field.get(field.len() - octets..)?);
    Some((changed, format!("its length is {length}, as far as it fits")))
}

fn long(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u32).to_be_bytes(), bytes].concat()
}

/// Replaces a part of the payload, and corrects the size of the frame.
fn replace(frame: &mut WireFrame, range: std::ops::Range<usize>, by: &[u8]) {
    let (Some(before), Some(after)) = (frame.payload.get(..range.start), frame.payload.get(range.end..))
    else {
        return;
    };
    let mut payload = BytesMut::with_capacity(before.len() + by.len() + after.len());
    payload.put_slice(before);
    payload.put_slice(by);
    payload.put_slice(after);
    *frame = WireFrame::new(frame.kind, frame.channel, payload.freeze());
}

/// Returns whether a frame has arguments to change.
pub(super) fn has_any(frame: &WireFrame) -> bool {
    let is = |kind: FrameKind| frame.kind == kind.octet();
    is(FrameKind::Header)
        || (is(FrameKind::Method)
            && argument::read(&frame.payload).is_some_and(|(_, found)| !found.is_empty()))
}
