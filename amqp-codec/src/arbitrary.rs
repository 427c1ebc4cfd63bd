//! `Arbitrary` for every type of the protocol, for fuzzing brokers, clients and proxies.
//!
//! Generated values are valid: each can be written, and reads back equal. For nearly valid input
//! take a [`RawFrame`], whose payload is any bytes, or change bytes of an encoded [`Frame`].

use arbitrary::{Arbitrary, Error as Unmet, Result, Unstructured};
use bytes::{Bytes, BytesMut};

use crate::{
    content::{Assembler, Body, Content, ContentHeader},
    frame::{Frame, FrameKind, RawFrame},
    method::{Method, MethodId},
    properties::{EncodedProperties, Properties},
    reply::ReplyCode,
    table::{Array, Table, Value},
    tune::Tune,
    wire::text::{LongString, Secret, ShortString},
};

/// How deep arbitrary tables nest: deep enough to test nesting, shallow enough to stay small.
const DEPTH: u8 = 4;

impl<'a> Arbitrary<'a> for ShortString {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let bytes: &[u8] = u.arbitrary()?;
        let bytes = bytes.get(..ShortString::MAX).unwrap_or(bytes);
        ShortString::from_bytes("short string", Bytes::copy_from_slice(bytes)).map_err(unmet)
    }
}

impl<'a> Arbitrary<'a> for LongString {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        bytes(u).map(LongString::from)
    }
}

impl<'a> Arbitrary<'a> for Secret {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        u.arbitrary::<LongString>().map(Secret::from)
    }
}

impl<'a> Arbitrary<'a> for Value {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        value(u, DEPTH)
    }
}

impl<'a> Arbitrary<'a> for Table {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        table(u, DEPTH)
    }
}

impl<'a> Arbitrary<'a> for Array {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        array(u, DEPTH)
    }
}

impl<'a> Arbitrary<'a> for EncodedProperties {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        u.arbitrary::<Properties>()?.encode().map_err(unmet)
    }
}

impl<'a> Arbitrary<'a> for ContentHeader {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        // Class 60, basic, is the only one with content.
        Ok(ContentHeader { class_id: 60, body_size: u.arbitrary()?, properties: u.arbitrary()? })
    }
}

impl<'a> Arbitrary<'a> for MethodId {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        u.choose(MethodId::ALL).copied()
    }
}

impl<'a> Arbitrary<'a> for ReplyCode {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        u.choose(ReplyCode::ALL).copied()
    }
}

impl<'a> Arbitrary<'a> for FrameKind {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        u.choose(&[FrameKind::Method, FrameKind::Header, FrameKind::Body, FrameKind::Heartbeat]).copied()
    }
}

impl<'a> Arbitrary<'a> for Tune {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(Tune { channel_max: u.arbitrary()?, frame_max: u.arbitrary()?, heartbeat: u.arbitrary()? })
    }
}

impl<'a> Arbitrary<'a> for Frame {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let channel = u.arbitrary()?;
        Ok(match u.arbitrary()? {
            FrameKind::Method => Frame::Method(channel, u.arbitrary::<Method>()?),
            FrameKind::Header => Frame::Header(channel, u.arbitrary()?),
            FrameKind::Body => Frame::Body(channel, bytes(u)?),
            FrameKind::Heartbeat => Frame::Heartbeat(0),
        })
    }
}

/// A method of one's choice with a body in one or several parts.
impl<'a, M: Arbitrary<'a>> Arbitrary<'a> for Content<M> {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let mut parts = Vec::new();
        while !u.is_empty() && u.arbitrary()? {
            parts.push(bytes(u)?);
        }
        parts.retain(|part| !part.is_empty());
        let body_size = parts.iter().map(|part| part.len() as u64).sum();
        let mut assembler = Assembler::default();
        assembler.method(u.arbitrary()?).map_err(unmet)?;
        let header = ContentHeader { class_id: 60, body_size, properties: u.arbitrary()? };
        let mut content = assembler.header(header).map_err(unmet)?;
        for part in parts {
            content = assembler.body(part).map_err(unmet)?;
        }
        content.ok_or(Unmet::IncorrectFormat)
    }
}

impl<'a> Arbitrary<'a> for Body {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        u.arbitrary::<Content<()>>().map(|content| content.body)
    }
}

/// The kind and the channel are valid; the payload is arbitrary, and in half of the cases a valid
/// one with one byte changed.
impl<'a> Arbitrary<'a> for RawFrame {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        if u.arbitrary()? {
            return Ok(RawFrame { kind: u.arbitrary()?, channel: u.arbitrary()?, payload: bytes(u)? });
        }
        let mut wire = BytesMut::new();
        u.arbitrary::<Frame>()?.encode(usize::MAX, &mut wire).map_err(unmet)?;
        let mut frame =
            RawFrame::split_from(&mut wire, usize::MAX).map_err(unmet)?.ok_or(Unmet::IncorrectFormat)?;
        let mut payload = BytesMut::from(frame.payload);
        if let Some(last) = payload.len().checked_sub(1)
            && let Some(byte) = payload.get_mut(u.int_in_range(0..=last)?)
        {
            *byte = u.arbitrary()?;
        }
        frame.payload = payload.freeze();
        Ok(frame)
    }
}

fn bytes(u: &mut Unstructured<'_>) -> Result<Bytes> {
    u.arbitrary::<&[u8]>().map(Bytes::copy_from_slice)
}

fn value(u: &mut Unstructured<'_>, depth: u8) -> Result<Value> {
    Ok(match u.int_in_range(0..=if depth == 0 { 13 } else { 15 })? {
        0 => Value::Bool(u.arbitrary()?),
        1 => Value::I8(u.arbitrary()?),
        2 => Value::U8(u.arbitrary()?),
        3 => Value::I16(u.arbitrary()?),
        4 => Value::U16(u.arbitrary()?),
        5 => Value::I32(u.arbitrary()?),
        6 => Value::U32(u.arbitrary()?),
        7 => Value::I64(u.arbitrary()?),
        8 => Value::F32(u.arbitrary()?),
        9 => Value::F64(u.arbitrary()?),
        10 => Value::Decimal { scale: u.arbitrary()?, value: u.arbitrary()? },
        11 => Value::LongString(u.arbitrary()?),
        12 => Value::Timestamp(u.arbitrary()?),
        13 if u.arbitrary()? => Value::Bytes(bytes(u)?),
        13 => Value::Void,
        14 => Value::Array(array(u, depth - 1)?),
        _ => Value::Table(table(u, depth.saturating_sub(1))?),
    })
}

fn table(u: &mut Unstructured<'_>, depth: u8) -> Result<Table> {
    let mut table = Table::new();
    while !u.is_empty() && u.arbitrary()? {
        let key = u.arbitrary::<&str>()?;
        let end = key.floor_char_boundary(ShortString::MAX);
        table.push(key.get(..end).unwrap_or_default(), value(u, depth)?).map_err(unmet)?;
    }
    Ok(table)
}

fn array(u: &mut Unstructured<'_>, depth: u8) -> Result<Array> {
    let mut array = Array::new();
    while !u.is_empty() && u.arbitrary()? {
        array.push(value(u, depth)?).map_err(unmet)?;
    }
    Ok(array)
}

fn unmet(_: crate::error::Error) -> Unmet {
    Unmet::IncorrectFormat
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Enough bytes for many different values. They follow from `seed` alone, so that a failure
    /// repeats.
    fn material(seed: u64) -> Vec<u8> {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        (0..2000)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (state >> 56) as u8
            })
            .collect()
    }

    #[test]
    fn every_arbitrary_frame_is_written_and_read_back_the_same() {
        let mut seen = std::collections::HashSet::new();
        for seed in 0..3000 {
            let bytes = material(seed);
            let frame: Frame = Unstructured::new(&bytes).arbitrary().unwrap();
            let mut wire = BytesMut::new();
            frame.encode(usize::MAX, &mut wire).unwrap();
            let raw = RawFrame::split_from(&mut wire, usize::MAX).unwrap().unwrap();
            assert_eq!(raw.decode().unwrap(), frame, "seed {seed}");
            if let Frame::Method(_, method) = frame {
                seen.insert(method.name());
            }
        }
        assert_eq!(seen.len(), MethodId::ALL.len(), "some methods are never made");
    }

    #[test]
    fn contents_and_deliveries_are_whole() {
        let mut in_parts = 0;
        for seed in 0..500 {
            let bytes = material(seed);
            let content: Content<bool> = Unstructured::new(&bytes).arbitrary().unwrap();
            assert_eq!(content.body.len() as u64, content.header.body_size);
            in_parts += usize::from(content.body.parts().count() > 1);
        }
        assert!(in_parts > 10);
    }

    #[test]
    fn raw_frames_are_sometimes_valid_and_sometimes_not() {
        let (mut valid, mut broken) = (0, 0);
        for seed in 0..2000 {
            let bytes = material(seed);
            let raw: RawFrame = Unstructured::new(&bytes).arbitrary().unwrap();
            match raw.decode() {
                Ok(_) => valid += 1,
                Err(_) => broken += 1,
            }
        }
        assert!(valid > 100 && broken > 100, "{valid} valid, {broken} broken");
    }
}
