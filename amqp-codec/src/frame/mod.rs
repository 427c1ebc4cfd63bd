//! Frames (spec section 4.2.3): `type:u8 channel:u16 size:u32 payload 0xCE`.
//!
//! ```text
//! 0      1         3             7                  size+7   size+8
//! +------+---------+-------------+------------------+--------+
//! | type | channel |    size     |     payload      |  0xCE  |
//! +------+---------+-------------+------------------+--------+
//! ```

pub(crate) mod frame_header;
pub(crate) mod frame_ref;
pub(crate) mod frames;

use bytes::{Buf, BufMut, Bytes, BytesMut};

pub use crate::frame::frame_header::{FRAME_END, FrameHeader, FrameKind, HEADER_LEN};
use crate::{
    content::{ContentHeader, body_frame_sizes},
    error::Error,
    frame::frames::Frames,
    method::{Arguments, Method, encode_arguments},
    properties::EncodedProperties,
};

/// The bytes with which a client opens a connection. A broker answers with them to a client of
/// another version.
pub const PROTOCOL_HEADER: [u8; 8] = *b"AMQP\0\0\x09\x01";

/// A complete heartbeat frame.
pub const HEARTBEAT: [u8; 8] = [8, 0, 0, 0, 0, 0, 0, FRAME_END];

/// A frame whose payload is not decoded: enough to tell frames apart and to pass them on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawFrame {
    /// The type.
    pub kind: FrameKind,
    /// The channel; 0 is the connection itself.
    pub channel: u16,
    /// The bytes between the frame header and the end marker.
    pub payload: Bytes,
}

impl RawFrame {
    /// Cuts the first frame off `buffer`, without copying; `None` until it is complete.
    ///
    /// # Errors
    /// An unknown type, a frame over `frame_max`, a wrong end marker.
    pub fn split_from(buffer: &mut BytesMut, frame_max: usize) -> Result<Option<Self>, Error> {
        let Some(found) = Frames::new(buffer, frame_max).next_frame()? else { return Ok(None) };
        let FrameHeader { kind, channel, size } = found.header();
        buffer.advance(HEADER_LEN);
        let payload = buffer.split_to(size as usize).freeze();
        buffer.advance(1);
        Ok(Some(RawFrame { kind, channel, payload }))
    }

    /// Appends the frame with its payload unchanged, as a proxy does that decodes few frames.
    ///
    /// # Errors
    /// [`Error::TooLong`] when it would be over `frame_max`; nothing is appended then.
    pub fn encode(&self, frame_max: usize, out: &mut BytesMut) -> Result<(), Error> {
        encode_frame(self.kind, self.channel, frame_max, out, |out| {
            out.put_slice(&self.payload);
            Ok(())
        })
    }

    /// Decodes the payload.
    ///
    /// # Errors
    /// A malformed method or content header; a heartbeat with a payload or on a channel other than
    /// 0.
    pub fn decode(self) -> Result<Frame, Error> {
        Ok(match self.kind {
            FrameKind::Method => Frame::Method(self.channel, Method::decode(&self.payload)?),
            FrameKind::Header => Frame::Header(self.channel, ContentHeader::decode(&self.payload)?),
            FrameKind::Body => Frame::Body(self.channel, self.payload),
            FrameKind::Heartbeat => {
                check_heartbeat(self.channel, self.payload.len())?;
                Frame::Heartbeat(self.channel)
            }
        })
    }
}

/// Checks that a heartbeat is on channel 0 and has no payload.
///
/// # Errors
/// [`Error::MalformedHeartbeat`].
pub fn check_heartbeat(channel: u16, length: usize) -> Result<(), Error> {
    if channel == 0 && length == 0 { Ok(()) } else { Err(Error::MalformedHeartbeat { channel, length }) }
}

/// A decoded frame. `Display` shows it as a line of a transcript, `1 basic.publish
/// exchange="events" routing_key="job.run"`.
#[derive(Clone, PartialEq, Eq)]
pub enum Frame {
    /// The channel and the method.
    Method(u16, Method),
    /// The channel and the content header.
    Header(u16, ContentHeader),
    /// The channel and a part of the body.
    Body(u16, Bytes),
    /// A heartbeat and its channel, which is 0. One on another channel can be written, for tests,
    /// but is refused when read.
    Heartbeat(u16),
}

impl Frame {
    /// Appends the frame.
    ///
    /// # Errors
    /// [`Error::TooLong`] when it would be over `frame_max`; nothing is appended then.
    pub fn encode(&self, frame_max: usize, out: &mut BytesMut) -> Result<(), Error> {
        match self {
            Frame::Method(channel, method) => {
                encode_frame(FrameKind::Method, *channel, frame_max, out, |out| method.encode(out))
            }
            Frame::Header(channel, header) => {
                encode_frame(FrameKind::Header, *channel, frame_max, out, |out| {
                    header.encode(out);
                    Ok(())
                })
            }
            Frame::Body(channel, body) => encode_frame(FrameKind::Body, *channel, frame_max, out, |out| {
                out.put_slice(body);
                Ok(())
            }),
            Frame::Heartbeat(channel) => {
                encode_frame(FrameKind::Heartbeat, *channel, frame_max, out, |_| Ok(()))
            }
        }
    }
}

/// Appends one method as a frame, without wrapping it in a [`Frame`] first.
///
/// # Errors
/// [`Error::TooLong`] when it would be over `frame_max`; nothing is appended then.
pub fn encode_method<A: Arguments>(
    channel: u16,
    method: &A,
    frame_max: usize,
    out: &mut BytesMut,
) -> Result<(), Error> {
    encode_frame(FrameKind::Method, channel, frame_max, out, |out| encode_arguments(method, out))
}

/// Appends a method with its content: the method's frame, the header's, and the body in as many
/// frames as it needs.
///
/// # Errors
/// [`Error::TooLong`] for a body over `body_max`, and when method or properties do not fit into one
/// frame; nothing is appended then.
pub fn encode_content<A: Arguments>(
    channel: u16,
    method: &A,
    properties: &EncodedProperties,
    body: &[u8],
    frame_max: usize,
    body_max: u64,
    out: &mut BytesMut,
) -> Result<(), Error> {
    let body_size = body.len() as u64;
    if body_size > body_max {
        return Err(Error::TooLong { what: "body", length: body_size, limit: body_max });
    }
    let start = out.len();
    let header = ContentHeader { class_id: A::ID.class_id, body_size, properties: properties.clone() };
    let written = encode_method(channel, method, frame_max, out)
        .and_then(|()| Frame::Header(channel, header).encode(frame_max, out));
    if written.is_err() {
        out.truncate(start);
        return written;
    }
    put_body(channel, body, frame_max, out);
    Ok(())
}

/// Appends a frame around what `payload` appends. It removes everything again when `payload` fails
/// or the frame is over `frame_max`.
#[inline]
pub(crate) fn encode_frame(
    kind: FrameKind,
    channel: u16,
    frame_max: usize,
    out: &mut BytesMut,
    payload: impl FnOnce(&mut BytesMut) -> Result<(), Error>,
) -> Result<(), Error> {
    let start = out.len();
    out.put_u8(kind.octet());
    out.put_u16(channel);
    out.put_u32(0);
    let result = payload(out).and_then(|()| {
        let length = out.len() - start + 1;
        if length > frame_max {
            let (length, limit) = (length as u64, frame_max as u64);
            return Err(Error::TooLong { what: kind.name(), length, limit });
        }
        Ok(())
    });
    if result.is_err() {
        out.truncate(start);
        return result;
    }
    let size = (out.len() - start - HEADER_LEN) as u32;
    if let Some(field) = out.get_mut(start + 3..start + HEADER_LEN) {
        field.copy_from_slice(&size.to_be_bytes());
    }
    out.put_u8(FRAME_END);
    Ok(())
}

/// Appends the frame header of a body frame of `size` bytes. The caller then writes the bytes and
/// [`FRAME_END`], by copy or by a vectored write.
#[inline]
pub fn put_body_frame_header(channel: u16, size: u32, out: &mut BytesMut) {
    out.put_u8(FrameKind::Body.octet());
    out.put_u16(channel);
    out.put_u32(size);
}

/// Appends a body in as many frames as it needs.
#[inline]
pub(crate) fn put_body(channel: u16, body: &[u8], frame_max: usize, out: &mut BytesMut) {
    let mut rest = body;
    for size in body_frame_sizes(body.len(), frame_max) {
        let (part, left) = rest.split_at_checked(size).unwrap_or((rest, &[]));
        put_body_frame_header(channel, part.len() as u32, out);
        out.put_slice(part);
        out.put_u8(FRAME_END);
        rest = left;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        method::{basic, queue},
        tune::FRAME_OVERHEAD,
    };

    #[test]
    fn a_heartbeat_is_empty_and_on_channel_0() {
        let read = |channel, payload: &'static [u8]| {
            RawFrame { kind: FrameKind::Heartbeat, channel, payload: Bytes::from_static(payload) }.decode()
        };
        assert_eq!(read(0, b""), Ok(Frame::Heartbeat(0)));
        assert_eq!(read(0, b"x"), Err(Error::MalformedHeartbeat { channel: 0, length: 1 }));
        assert_eq!(read(1, b""), Err(Error::MalformedHeartbeat { channel: 1, length: 0 }));
    }

    #[test]
    fn a_frame_of_exactly_frame_max_passes_and_one_more_byte_does_not() {
        let mut out = BytesMut::new();
        let body = Frame::Body(1, Bytes::from(vec![0; 4096 - FRAME_OVERHEAD]));
        body.encode(4096, &mut out).unwrap();
        assert_eq!(RawFrame::split_from(&mut out, 4096).unwrap().unwrap().decode().unwrap(), body);

        let body = Frame::Body(1, Bytes::from(vec![0; 4097 - FRAME_OVERHEAD]));
        let error = body.encode(4096, &mut out).unwrap_err();
        assert_eq!(error, Error::TooLong { what: "a content body frame", length: 4097, limit: 4096 });
        assert!(out.is_empty());
    }

    #[test]
    fn a_raw_frame_is_written_as_it_was_read_whatever_is_in_it() {
        let frames = b"\x01\0\x07\0\0\0\x03odd\xce\x02\0\x01\0\0\0\0\xce\x03\xff\xff\0\0\0\x01\xce\xce\x08\0\x09\0\0\0\x01x\xce";
        let (mut buffer, mut out) = (BytesMut::from(&frames[..]), BytesMut::new());
        while let Some(raw) = RawFrame::split_from(&mut buffer, 4096).unwrap() {
            raw.encode(4096, &mut out).unwrap();
        }
        assert_eq!(out, &frames[..]);
        let large = RawFrame { kind: FrameKind::Body, channel: 1, payload: Bytes::from(vec![0; 4096]) };
        let error = large.encode(4096, &mut out).unwrap_err();
        assert_eq!(error, Error::TooLong { what: "a content body frame", length: 4104, limit: 4096 });
        assert_eq!(out, &frames[..]);
    }

    #[test]
    fn content_is_written_whole_or_not_at_all() {
        let publish = basic::Publish::default();
        let mut out = BytesMut::new();
        let none = EncodedProperties::NONE;
        let error = encode_content(1, &publish, &none, &[0; 10], 4096, 9, &mut out).unwrap_err();
        assert_eq!(error, Error::TooLong { what: "body", length: 10, limit: 9 });
        let large = EncodedProperties::from_encoded(Bytes::from(vec![0; 5000]));
        let error = encode_content(1, &publish, &large, b"x", 4096, 9, &mut out).unwrap_err();
        assert!(
            matches!(error, Error::TooLong { what: "a content header frame", limit: 4096, .. }),
            "{error}"
        );
        assert!(out.is_empty());

        encode_content(1, &publish, &none, &[7; 5000], 4096, 5000, &mut out).unwrap();
        let mut lines = Vec::new();
        while let Some(raw) = RawFrame::split_from(&mut out, 4096).unwrap() {
            lines.push((raw.kind, raw.payload.len()));
        }
        let (method, header) = ((FrameKind::Method, 9), (FrameKind::Header, 14));
        assert_eq!(lines, [method, header, (FrameKind::Body, 4088), (FrameKind::Body, 912)]);
    }

    #[test]
    fn a_wrong_end_marker_is_refused() {
        let mut buffer = BytesMut::from(&[8, 0, 0, 0, 0, 0, 0, 0xCD][..]);
        assert_eq!(RawFrame::split_from(&mut buffer, 4096), Err(Error::BadFrameEnd(0xCD)));
    }

    #[test]
    fn a_payload_is_a_slice_of_the_read_buffer() {
        let mut out = BytesMut::new();
        encode_method(1, &queue::PurgeOk { message_count: 3 }, 4096, &mut out).unwrap();
        let start = out.as_ptr() as usize;
        let frame = RawFrame::split_from(&mut out, 4096).unwrap().unwrap();
        assert_eq!(frame.payload.as_ptr() as usize, start + HEADER_LEN);
    }
}
