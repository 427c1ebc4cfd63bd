//! Lines of text as items.

use amqp_codec::{
    ContentHeader, EncodedProperties, Field, FieldKind, Frame, MethodId, Properties, ShortString,
};
use bytes::Bytes;

use super::{
    item::Item,
    literal::{Cursor, Wrong},
    write::BASIC,
};
use crate::{
    arguments::{
        argument::{self, Argument},
        properties,
    },
    wire_frame::WireFrame,
};

/// Why a line of a transcript cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {what}")]
pub struct TranscriptError {
    /// The number of the line, from 1.
    pub line: usize,
    /// The octet of the line at which it is wrong, from 1.
    pub column: usize,
    /// What is wrong.
    pub what: &'static str,
}

/// Reads a transcript: an item a line. Empty lines, and those that begin with `#`, are left out.
///
/// Both what [`Item`] shows and what the codec's frames show is read. The latter leaves out the
/// types of numbers in tables, which are then the smallest of `I` and `l` that hold them, and the
/// end of long bodies, which are then filled by repeating what is shown.
///
/// ```
/// use amqp_fuzz::{Item, read_transcript};
///
/// let items = read_transcript("# a message\n1 basic.publish routing_key=\"jobs\" mandatory\n")?;
/// assert_eq!(items.len(), 1);
/// assert_eq!(items[0].to_string(), "1 basic.publish routing_key=\"jobs\" mandatory");
/// # Ok::<(), amqp_fuzz::TranscriptError>(())
/// ```
///
/// # Errors
/// The first line that is none of these, with what is wrong in it.
pub fn read_transcript(text: &str) -> Result<Vec<Item>, TranscriptError> {
    let lines = text.lines().enumerate();
    let lines = lines.filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
    lines
        .map(|(index, line)| read_line(line).map_err(|error| TranscriptError { line: index + 1, ..error }))
        .collect()
}

/// Reads one line of a transcript.
///
/// # Errors
/// What is wrong with it; the number of the line is 1.
pub fn read_line(line: &str) -> Result<Item, TranscriptError> {
    let mut cursor = Cursor::new(line);
    let item = item(&mut cursor).and_then(|item| match cursor.is_at_end() {
        true => Ok(item),
        false => cursor.wrong("the line should end here"),
    });
    item.map_err(|Wrong { at, what }| TranscriptError { line: 1, column: at + 1, what })
}

fn item(cursor: &mut Cursor<'_>) -> Result<Item, Wrong> {
    cursor.skip_spaces();
    if cursor.take("octets ") {
        return cursor.bytes(None).map(Item::Octets);
    }
    let Ok(channel) = u16::try_from(cursor.number()?) else {
        return cursor.wrong("no channel has this number");
    };
    cursor.skip_spaces();
    let name = cursor.name();
    match name {
        "heartbeat" => Ok(Frame::Heartbeat(channel).into()),
        "malformed" => cursor.wrong("the bytes of a malformed frame are not in this line"),
        "raw" => raw(cursor, channel),
        "body" => {
            let size = named_number(cursor, "size")?;
            cursor.skip_spaces();
            Ok(Frame::Body(channel, cursor.bytes(Some(size))?).into())
        }
        "header" => Ok(Frame::Header(channel, header(cursor)?).into()),
        name => {
            let Some(id) = MethodId::ALL.iter().find(|id| id.name() == Some(name)) else {
                return cursor.wrong("no method has this name");
            };
            let arguments = named_values(cursor, id.fields().unwrap_or_default())?;
            match argument::method(*id, &arguments) {
                Some(method) => Ok(Frame::Method(channel, method).into()),
                None => cursor.wrong("an argument is too large"),
            }
        }
    }
}

fn raw(cursor: &mut Cursor<'_>, channel: u16) -> Result<Item, Wrong> {
    let kind = named_number(cursor, "type")? as u8;
    let size = named_number(cursor, "size")? as u32;
    let end = named_number(cursor, "end")? as u8;
    cursor.skip_spaces();
    let payload = cursor.bytes(None)?;
    Ok(Item::Wire(WireFrame { kind, channel, size, payload, end }))
}

fn header(cursor: &mut Cursor<'_>) -> Result<ContentHeader, Wrong> {
    cursor.skip_spaces();
    let class_id = match cursor.rest().starts_with("class_id=") {
        true => named_number(cursor, "class_id")? as u16,
        false => BASIC,
    };
    let body_size = named_number(cursor, "body_size")?;
    cursor.skip_spaces();
    if cursor.take("encoded=") {
        let properties = EncodedProperties::from_encoded(cursor.bytes(None)?);
        return Ok(ContentHeader { class_id, body_size, properties });
    }
    let found = named_values(cursor, Properties::FIELDS)?;
    match properties::encode(&found) {
        Some(properties) => Ok(ContentHeader { class_id, body_size, properties }),
        None => cursor.wrong("a property is too large"),
    }
}

fn named_number(cursor: &mut Cursor<'_>, name: &'static str) -> Result<u64, Wrong> {
    cursor.skip_spaces();
    if !cursor.take(name) || !cursor.take("=") {
        return cursor.wrong(name);
    }
    cursor.number()
}

fn named_values(
    cursor: &mut Cursor<'_>,
    fields: &'static [Field],
) -> Result<Vec<(&'static str, Argument)>, Wrong> {
    let mut values = Vec::new();
    loop {
        cursor.skip_spaces();
        if cursor.is_at_end() {
            return Ok(values);
        }
        let name = cursor.name();
        let Some(field) = fields.iter().find(|field| field.name == name) else {
            return cursor.wrong("no such argument or property");
        };
        values.push((field.name, value(cursor, field.kind)?));
    }
}

fn value(cursor: &mut Cursor<'_>, kind: FieldKind) -> Result<Argument, Wrong> {
    if kind == FieldKind::Bit {
        let is_false = cursor.take("=false");
        let _ = cursor.take("=true");
        return Ok(Argument::Bit(!is_false));
    }
    if !cursor.take("=") {
        return cursor.wrong("an equals sign is expected here");
    }
    Ok(match kind {
        FieldKind::Bit | FieldKind::Octet | FieldKind::Short | FieldKind::Long | FieldKind::LongLong => {
            Argument::Number(cursor.number()?)
        }
        FieldKind::ShortString => {
            let bytes: Bytes = cursor.bytes(None)?;
            match ShortString::from_bytes("", bytes) {
                Ok(text) => Argument::ShortString(text),
                Err(_) => return cursor.wrong("a short string has at most 255 bytes"),
            }
        }
        FieldKind::LongString => Argument::LongString(cursor.bytes(None)?),
        FieldKind::Table => Argument::Table(cursor.table(1)?),
    })
}

#[cfg(test)]
mod tests {
    use amqp_codec::{Method, method::connection, sasl};
    use bytes::BytesMut;
    use proptest::prelude::*;

    use super::*;
    use crate::{Choices, WireFrame};

    proptest! {
        #[test]
        fn a_frame_is_read_back_as_it_was_written(seed: u64) {
            let frame: Option<Frame> = Choices::from_seed(seed).arbitrary(400);
            prop_assume!(frame.is_some());
            let item = Item::from(WireFrame::of(&frame.unwrap()));
            let line = item.with_secrets().to_string();
            prop_assert_eq!(read_line(&line), Ok(item), "{}", line);
        }

        #[test]
        fn frames_and_octets_of_which_anything_is_wrong_are_read_back_too(bytes: Vec<u8>, cut: u8) {
            let mut stream = BytesMut::from(&b"AMQP\0\0\x09\x01"[..]);
            let mut choices = Choices::from_bytes(&bytes);
            for _ in 0..5 {
                let Some(frame) = choices.arbitrary::<Frame>(60) else { continue };
                let mut frame = WireFrame::of(&frame);
                frame.payload = crate::mutate_bytes(&mut frame.payload.to_vec(), &mut choices)
                    .map_or(frame.payload.clone(), |_| frame.payload.slice(..frame.payload.len() / 2));
                frame.size = frame.payload.len() as u32;
                frame.put(&mut stream);
            }
            stream.truncate(stream.len().saturating_sub(usize::from(cut % 7)));
            let stream = stream.freeze();
            let items = Item::of_stream(stream.clone());
            let text: String = items.iter().map(|item| format!("{}\n", item.with_secrets())).collect();
            let mut again = BytesMut::new();
            for item in read_transcript(&text).unwrap() {
                item.put(&mut again);
            }
            prop_assert_eq!(again, stream);
        }

        #[test]
        fn what_the_codec_shows_is_read_and_shown_the_same(seed: u64) {
            let frame: Option<Frame> = Choices::from_seed(seed).arbitrary(400);
            prop_assume!(frame.is_some());
            let line = frame.unwrap().to_string();
            prop_assume!(!line.contains("malformed properties"));
            match read_line(&line) {
                Ok(Item::Frame(frame)) => prop_assert_eq!(frame.to_string(), line),
                other => prop_assert!(false, "{} is read as {:?}", line, other),
            }
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in "[0-9a-z.=\"\\\\{}\\[\\]: ,@x-]{0,60}") {
            let _ = read_line(&text);
            let _ = read_line(&format!("1 queue.declare arguments={text}"));
            let _ = read_line(&format!("1 body size=70 {text}"));
        }
    }

    #[test]
    fn secrets_are_shown_only_when_asked_for() {
        let start_ok =
            connection::StartOk { response: sasl::plain("guest", "hunter2"), ..Default::default() };
        let frame = Frame::Method(0, Method::from(start_ok));
        let mut odd = WireFrame::of(&frame);
        odd.end = 1;
        let mut octets = BytesMut::new();
        odd.put(&mut octets);
        for item in [Item::from(frame), Item::Wire(odd), Item::Octets(octets.freeze())] {
            assert!(
                !item.to_string().contains("hunter2") && item.to_string().contains("[redacted]"),
                "{item}"
            );
            assert!(item.with_secrets().to_string().contains("hunter2"));
        }
    }

    #[test]
    fn a_line_that_cannot_be_read_is_named_with_its_place() {
        for (text, line, column, what) in [
            ("0 heartbeat\n1 basic.pray", 2, 13, "no method has this name"),
            ("1 queue.declare queue=\"a\" colour=3", 1, 33, "no such argument or property"),
            ("1 queue.declare arguments={a: }", 1, 31, "a value is expected here"),
            ("70000 heartbeat", 1, 6, "no channel has this number"),
            ("3 malformed a method frame", 1, 12, "the bytes of a malformed frame are not in this line"),
        ] {
            assert_eq!(read_transcript(text), Err(TranscriptError { line, column, what }), "{text}");
        }
    }
}
