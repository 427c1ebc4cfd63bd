//! Parsers over `&[u8]` for [nom], to be combined with one's own: for sniffers, proxies and
//! fuzzers, whose input is more than frames.
//!
//! [`complete`] is for input that is all there, such as a frame's payload: what is cut off is an
//! error. [`streaming`] is for input that is still arriving: it asks for more, and says for how
//! much. Both are the parsers that the rest of this crate rests on, allocate nothing, and borrow
//! what they find: [`FrameRef`], [`MethodRef`], [`ContentHeaderRef`], [`Entries`].
//!
//! Errors are this crate's [`Error`], which names the field and the limit; where that was is known
//! from what is left. Nom's own parsers fail with [`Error::Refused`].
//!
//! A capture file, each frame behind its time in microseconds:
//!
//! ```
//! use amqp_codec::{Error, Frame, method::queue, parse::complete};
//! use bytes::{BufMut, BytesMut};
//! use nom::{Finish, IResult, Parser, bytes::complete::take, multi::many0};
//!
//! fn time(input: &[u8]) -> IResult<&[u8], u64, Error> {
//!     let number = |octets: &[u8]| octets.first_chunk().copied().map(u64::from_be_bytes);
//!     take(8usize).map_opt(number).parse(input)
//! }
//!
//! let mut capture = BytesMut::new();
//! capture.put_u64(17);
//! Frame::Heartbeat(0).encode(131_072, &mut capture)?;
//! capture.put_u64(19);
//! Frame::Method(1, queue::PurgeOk { message_count: 7 }.into()).encode(131_072, &mut capture)?;
//!
//! let (rest, records) = many0((time, complete::frame(131_072))).parse(&capture[..]).finish()?;
//! assert!(rest.is_empty());
//! let [(17, _), (19, frame)] = &records[..] else { panic!("{records:?}") };
//! let (_, method) = complete::method(frame.payload).finish()?;
//! assert_eq!(method.id().name(), Some("queue.purge-ok"));
//! assert_eq!(method.decode()?.to_string(), "queue.purge-ok message_count=7");
//! # Ok::<(), Error>(())
//! ```
//!
//! A stream, of which not all has come; and an error type of one's own, which is made of this
//! crate's:
//!
//! ```
//! use amqp_codec::parse::streaming;
//! use nom::{Err, IResult, Needed, Parser, combinator::into, error::{ErrorKind, ParseError}};
//!
//! #[derive(Debug, PartialEq)]
//! struct Unreadable(String);
//!
//! impl From<amqp_codec::Error> for Unreadable {
//!     fn from(error: amqp_codec::Error) -> Self {
//!         Unreadable(error.to_string())
//!     }
//! }
//!
//! impl ParseError<&[u8]> for Unreadable {
//!     fn from_error_kind(_: &[u8], kind: ErrorKind) -> Self {
//!         Unreadable(format!("{kind:?}"))
//!     }
//!     fn append(_: &[u8], _: ErrorKind, other: Self) -> Self {
//!         other
//!     }
//! }
//!
//! fn body_length(input: &[u8]) -> IResult<&[u8], usize, Unreadable> {
//!     let length = |frame: amqp_codec::FrameRef<'_>| frame.payload.len();
//!     into(streaming::frame(4096)).map(length).parse(input)
//! }
//!
//! let frame = b"\x03\0\x01\0\0\0\x02hi\xce";
//! assert_eq!(body_length(frame), Ok((&b""[..], 2)));
//! assert_eq!(body_length(&frame[..8]), Err(Err::Incomplete(Needed::new(2))));
//! let refused = Unreadable("unknown frame type 72".to_owned());
//! assert_eq!(body_length(b"HTTP"), Err(Err::Error(refused)));
//! ```

use crate::{
    content::content_header_ref::ContentHeaderRef, error::Error, frame::frame_ref::FrameRef,
    method::method_ref::MethodRef, table::entries::Entries,
};

macro_rules! parsers {
    ($(#[$doc:meta])* $module:ident, $mode:ident, $cut_off:literal) => {
        $(#[$doc])*
        pub mod $module {
            use nom::{Err, IResult, $mode as Mode};

            use super::*;
            use crate::{content::content_header_ref, frame::{frame_header::FrameLimits, frame_ref}, method::method_ref, wire::{nesting::check_table, octets}};

            /// A whole frame of any kind, at most `frame_max` bytes long: header, payload, end
            /// marker.
            ///
            /// # Errors
            /// An unknown type, which one octet tells; a frame over `frame_max`, which seven do; a
            /// wrong end marker;
            #[doc = $cut_off]
            pub fn frame(frame_max: usize) -> impl Fn(&[u8]) -> IResult<&[u8], FrameRef<'_>, Error> {
                frame_ref::frame::<Mode>(FrameLimits::new(frame_max))
            }

            /// A method, which is a method frame's payload: from its number to its last argument.
            ///
            /// # Errors
            /// An unknown method; a table that is malformed or nested too deep;
            #[doc = $cut_off]
            pub fn method(input: &[u8]) -> IResult<&[u8], MethodRef<'_>, Error> {
                method_ref::method::<Mode>(input)
            }

            /// A content header, which is a header frame's payload, with its properties. What is in
            /// its header table is not looked at.
            ///
            /// # Errors
            /// Flags of properties that there are not;
            #[doc = $cut_off]
            pub fn content_header(input: &[u8]) -> IResult<&[u8], ContentHeaderRef<'_>, Error> {
                content_header_ref::content_header::<Mode>(input)
            }

            /// A field table with its length before it, checked to its last value.
            ///
            /// # Errors
            /// A malformed entry, nesting over [`MAX_DEPTH`](crate::MAX_DEPTH);
            #[doc = $cut_off]
            pub fn table(input: &[u8]) -> IResult<&[u8], Entries<'_>, Error> {
                let (rest, entries) = octets::long_string::<Mode>("table")(input)?;
                check_table(entries, 1).map_err(Err::Error)?;
                Ok((rest, Entries::new(entries)))
            }
        }
    };
}

parsers! {
    /// Parsers of complete input.
    complete, Complete, "what is cut off, by the name of the field: [`Error::Truncated`]."
}

parsers! {
    /// Parsers of input that is still arriving. A claimed length allocates nothing: it is reported
    /// as missing octets.
    streaming, Streaming, "`Incomplete` when more is to come, with how many octets at least."
}

#[cfg(test)]
mod tests {
    use bytes::{Bytes, BytesMut};
    use nom::{Err, Needed};

    use super::*;
    use crate::{
        content::ContentHeader,
        frame::Frame,
        method::{Method, MethodId, basic, queue},
        properties::Properties,
        table::Table,
        wire::text::ShortString,
    };

    fn table() -> Table {
        let mut table = Table::new();
        table.insert("x-max-priority", 5).unwrap();
        table
    }

    fn declare() -> Method {
        let queue = ShortString::from_static("jobs");
        queue::Declare { queue, durable: true, no_wait: true, arguments: table(), ..Default::default() }
            .into()
    }

    fn needed<T>(result: &Result<T, Err<Error>>) -> Option<usize> {
        match result {
            Err(Err::Incomplete(Needed::Size(needed))) => Some(needed.get()),
            _ => None,
        }
    }

    #[test]
    fn a_method_ends_with_its_last_argument_and_says_what_is_cut_off() {
        let mut wire = BytesMut::new();
        declare().encode(&mut wire).unwrap();
        let whole = wire.clone().freeze();
        wire.extend_from_slice(b"more");
        for parse in [complete::method, streaming::method] {
            let (rest, method) = parse(&wire).unwrap();
            assert_eq!((rest, method.decode()), (&b"more"[..], Ok(declare())));
            assert_eq!(method.arguments().as_ptr(), wire[4..].as_ptr());
        }
        for end in 0..whole.len() {
            let error = complete::method(&whole[..end]).unwrap_err();
            if end >= 4 {
                assert_eq!(
                    error,
                    Err::Error(Method::decode(&whole.slice(..end)).unwrap_err()),
                    "cut at {end}"
                );
            }
            let needed = needed(&streaming::method(&whole[..end])).unwrap();
            assert!(needed <= whole.len() - end, "cut at {end}");
        }
    }

    #[test]
    fn every_method_without_arguments_set_ends_where_it_does() {
        for &id in MethodId::ALL {
            // All arguments are empty strings, empty tables or zeros.
            let wire = Bytes::from([&id.octets()[..], &[0; 64]].concat());
            let (rest, method) = complete::method(&wire).unwrap();
            let decoded = method.decode().unwrap();
            let mut again = BytesMut::new();
            decoded.encode(&mut again).unwrap();
            assert_eq!((decoded.id(), again.len()), (id, wire.len() - rest.len()));
        }
        let error = Error::UnknownMethod { class_id: 60, method_id: 99 };
        assert_eq!(complete::method(&[0, 60, 0, 99]), Err(Err::Error(error)));
    }

    #[test]
    fn a_content_header_ends_with_its_last_property() {
        let kind = Some(ShortString::from_static("k"));
        let properties = Properties { headers: Some(table()), priority: Some(3), kind, ..Default::default() };
        let header = ContentHeader { class_id: 60, body_size: 7, properties: properties.encode().unwrap() };
        let mut wire = BytesMut::new();
        header.encode(&mut wire);
        let length = wire.len();
        wire.extend_from_slice(b"more");
        for parse in [complete::content_header, streaming::content_header] {
            let (rest, parsed) = parse(&wire).unwrap();
            assert_eq!((rest, ContentHeader::from(parsed)), (&b"more"[..], header.clone()));
        }
        for end in 0..length {
            let error = complete::content_header(&wire[..end]).unwrap_err();
            assert!(matches!(error, Err::Error(Error::Truncated { .. })), "cut at {end}: {error}");
            assert!(
                needed(&streaming::content_header(&wire[..end])).unwrap() <= length - end,
                "cut at {end}"
            );
        }
        let unknown = [&[0; 12][..], &[0, 1]].concat();
        let error = Error::UnknownPropertyFlags(1);
        assert_eq!(complete::content_header(&unknown), Err(Err::Error(error)));
    }

    #[test]
    fn a_table_is_checked_to_its_last_value() {
        let table = table();
        let wire =
            [&(table.as_encoded().len() as u32).to_be_bytes()[..], table.as_encoded(), b"more"].concat();
        for parse in [complete::table, streaming::table] {
            assert_eq!(parse(&wire), Ok((&b"more"[..], table.entries())));
            let error = Error::UnknownFieldType(b'?');
            assert_eq!(parse(b"\0\0\0\x03\x01a?"), Err(Err::Error(error)));
        }
        assert_eq!(needed(&streaming::table(&wire[..6])), Some(table.as_encoded().len() - 2));
    }

    #[test]
    fn a_frame_is_refused_as_early_as_can_be() {
        let mut wire = BytesMut::new();
        Frame::Method(7, basic::Ack { delivery_tag: 1, multiple: true }.into())
            .encode(4096, &mut wire)
            .unwrap();
        let frame = complete::frame(4096)(&wire).unwrap().1;
        assert_eq!((frame.channel, frame.payload, frame.payload_range()), (7, &wire[7..20], 7..20));
        for end in 0..wire.len() {
            let missing = if end < 7 { 7 - end } else { wire.len() - end };
            assert_eq!(needed(&streaming::frame(4096)(&wire[..end])), Some(missing), "cut at {end}");
            let needed = end + missing;
            let error = Error::Truncated { what: "frame", needed, left: end };
            assert_eq!(complete::frame(4096)(&wire[..end]), Err(Err::Error(error)));
        }
        let error = Error::FrameTooLarge { size: 21, limit: 20 };
        assert_eq!(streaming::frame(20)(&wire[..7]), Err(Err::Error(error)));
        assert_eq!(streaming::frame(20)(b"H"), Err(Err::Error(Error::UnknownFrameType(b'H'))));
        *wire.last_mut().unwrap() = 0;
        assert_eq!(streaming::frame(4096)(&wire), Err(Err::Error(Error::BadFrameEnd(0))));
    }
}
