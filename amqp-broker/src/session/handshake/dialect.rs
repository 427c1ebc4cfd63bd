//! The protocols that a client may open with, and what refuses the others.

use amqp_codec::frame::{FRAME_END, HEADER_LEN, PROTOCOL_HEADER};

use crate::core::rabbitmq::profile::Profile;

/// The protocol header of the first drafts of 0-9, which RabbitMQ accepts like the current one.
const DRAFT_HEADER: [u8; 8] = *b"AMQP\x01\x01\x00\x09";
/// The protocol headers of 0-8: that of its specification, and the one that clients sent in error.
const HEADERS_0_8: [[u8; 8]; 2] = [*b"AMQP\x01\x01\x08\x00", *b"AMQP\x01\x01\x09\x01"];
/// The protocol header of AMQP 1.0 with a login.
const HEADER_1_0: [u8; 8] = *b"AMQP\x03\x01\x00\x00";

/// A protocol that a client has opened with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    V0_9_1,
    /// It is spoken until the virtual host is open. Its methods up to there are those of 0-9-1,
    /// except that a close has another number.
    V0_8,
}

impl Dialect {
    /// The protocol of a header; `None` for one that is not spoken.
    pub(super) fn of(header: [u8; 8], profile: &Profile) -> Option<Self> {
        match header {
            PROTOCOL_HEADER | DRAFT_HEADER => Some(Dialect::V0_9_1),
            _ if profile.speaks_0_8 && HEADERS_0_8.contains(&header) => Some(Dialect::V0_8),
            _ => None,
        }
    }

    /// Tells whether these first octets of a client may become a header that is spoken.
    pub(super) fn may_begin(octets: &[u8], profile: &Profile) -> bool {
        let old = if profile.speaks_0_8 { &HEADERS_0_8[..] } else { &[] };
        [PROTOCOL_HEADER, DRAFT_HEADER].iter().chain(old).any(|header| header.starts_with(octets))
    }

    /// Major and minor version, as `connection.start` has them.
    pub(super) const fn version(self) -> (u8, u8) {
        match self {
            Dialect::V0_9_1 => (0, 9),
            Dialect::V0_8 => (8, 0),
        }
    }
}

/// The header that refuses a client with another protocol or version.
///
/// A version that speaks AMQP 1.0 names that one, unless the client seems to want a later 0-9. A
/// client that did ask for 1.0 is told 0-9-1 here, because it would go on otherwise, and 1.0 is not
/// spoken.
pub(super) fn refusal(begun: [u8; 8], profile: &Profile) -> [u8; 8] {
    match begun {
        [b'A', b'M', b'Q', b'P', 0, 0, 9..=u8::MAX, _] | HEADER_1_0 => PROTOCOL_HEADER,
        _ if profile.refers_to_1_0 => HEADER_1_0,
        _ => PROTOCOL_HEADER,
    }
}

/// The place of the low octet of the method's number in a method frame.
const NUMBER: usize = HEADER_LEN + 3;

/// A frame with `connection.close-ok` as 0-8 has it.
pub(super) const CLOSE_OK_0_8: [u8; 12] = [1, 0, 0, 0, 0, 0, 4, 0, 10, 0, 61, FRAME_END];

/// Makes an encoded `connection.close` that of 0-8, where it is method 60 and not 50.
pub(super) fn close_of_0_8(frame: &mut [u8]) {
    if let Some(number) = frame.get_mut(NUMBER) {
        *number = 60;
    }
}

/// Tells whether a frame's payload is `connection.close` of 0-8.
pub(super) fn is_close_0_8(payload: &[u8]) -> bool {
    payload.starts_with(&[0, 10, 0, 60])
}
