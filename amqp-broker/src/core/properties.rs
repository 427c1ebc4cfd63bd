//! The few properties the broker looks at, found in the encoded property list without decoding or allocating.

use amqp_codec::Error;

const HEADERS: u16 = 1 << 13;
const DELIVERY_MODE: u16 = 1 << 12;
const PRIORITY: u16 = 1 << 11;
const REPLY_TO: u16 = 1 << 9;
const EXPIRATION: u16 = 1 << 8;
const USER_ID: u16 = 1 << 4;

/// What routing, expiry, ordering and the login check need of a message's properties.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Relevant<'a> {
    /// The header table's entries.
    pub(crate) headers: Option<&'a [u8]>,
    pub(crate) priority: Option<u8>,
    /// Milliseconds as text.
    pub(crate) expiration: Option<&'a [u8]>,
    pub(crate) user_id: Option<&'a [u8]>,
    pub(crate) reply_to: Option<&'a [u8]>,
}

impl<'a> Relevant<'a> {
    /// Finds them.
    ///
    /// # Errors
    /// Flags that basic does not have, a property that reaches past the end, bytes left over.
    #[inline]
    pub(crate) fn find(encoded: &'a [u8]) -> Result<Self, Error> {
        let Some((flags, rest)) = encoded.split_first_chunk::<2>() else {
            return Err(Error::Truncated { what: "property flags", needed: 2, left: encoded.len() });
        };
        match (u16::from_be_bytes(*flags), rest.len()) {
            // The usual message: nothing, or a delivery mode.
            (0, 0) | (0x1000, 1) => Ok(Relevant::default()),
            (flags, _) => Self::walk(flags, rest),
        }
    }

    /// Property by property in the order of the flags (spec section 4.2.6.1).
    fn walk(flags: u16, mut rest: &'a [u8]) -> Result<Self, Error> {
        if flags & 0b11 != 0 {
            return Err(Error::UnknownPropertyFlags(flags));
        }
        let mut found = Relevant::default();
        for bit in (2..16).rev().map(|bit| 1u16 << bit).filter(|bit| flags & bit != 0) {
            let (length_octets, what): (usize, _) = match bit {
                HEADERS => (4, "headers"),
                0x1000 | PRIORITY | 0x0040 => (0, "property"),
                _ => (1, "property"),
            };
            let size = match bit {
                0x1000 | PRIORITY => 1,
                0x0040 => 8,
                _ => length_octets + length(take(rest, length_octets, what)?.0),
            };
            let (whole, after) = take(rest, size, what)?;
            let value = whole.get(length_octets..).unwrap_or_default();
            match bit {
                HEADERS => found.headers = Some(value),
                PRIORITY => found.priority = value.first().copied(),
                REPLY_TO => found.reply_to = Some(value),
                EXPIRATION => found.expiration = Some(value),
                USER_ID => found.user_id = Some(value),
                _ => {}
            }
            rest = after;
        }
        if rest.is_empty() {
            Ok(found)
        } else {
            Err(Error::TrailingBytes { what: "properties", count: rest.len() })
        }
    }
}

/// Whether the delivery mode asks a message to survive.
pub(crate) fn is_persistent(encoded: &[u8]) -> bool {
    let Some((flags, mut rest)) = encoded.split_first_chunk::<2>() else { return false };
    let flags = u16::from_be_bytes(*flags);
    if flags & DELIVERY_MODE == 0 {
        return false;
    }
    // What stands before it: content type, content encoding, headers.
    for (bit, length_octets) in [(1 << 15, 1), (1 << 14, 1), (HEADERS, 4)] {
        if flags & bit != 0 {
            let Ok((octets, after)) = take(rest, length_octets, "property") else { return false };
            let Ok((_, after)) = take(after, length(octets), "property") else { return false };
            rest = after;
        }
    }
    rest.first() == Some(&2)
}

fn length(octets: &[u8]) -> usize {
    octets.iter().fold(0, |length, &octet| length << 8 | usize::from(octet))
}

fn take<'a>(bytes: &'a [u8], count: usize, what: &'static str) -> Result<(&'a [u8], &'a [u8]), Error> {
    bytes.split_at_checked(count).ok_or(Error::Truncated { what, needed: count, left: bytes.len() })
}

#[cfg(test)]
mod tests {
    use amqp_codec::{Properties, ShortString, Table};

    use super::*;

    #[test]
    fn they_are_found_among_all_others() {
        let mut headers = Table::new();
        headers.insert("k", "v").unwrap();
        let text = |text: &'static str| Some(ShortString::from_static(text));
        let all = Properties {
            content_type: text("a"),
            content_encoding: text("b"),
            headers: Some(headers.clone()),
            delivery_mode: Some(2),
            priority: Some(7),
            correlation_id: text("c"),
            reply_to: text("d"),
            expiration: text("5000"),
            message_id: text("e"),
            timestamp: Some(1),
            kind: text("f"),
            user_id: text("guest"),
            app_id: text("g"),
            cluster_id: text("h"),
        };
        let encoded = all.encode().unwrap();
        let found = Relevant::find(encoded.as_encoded()).unwrap();
        assert_eq!(found.headers, Some(&headers.as_encoded()[..]));
        assert_eq!(found.priority, Some(7));
        assert_eq!(found.expiration, Some(&b"5000"[..]));
        assert_eq!(found.user_id, Some(&b"guest"[..]));
        assert_eq!(found.reply_to, Some(&b"d"[..]));
        for end in 0..encoded.as_encoded().len() {
            assert!(Relevant::find(&encoded.as_encoded()[..end]).is_err(), "cut at {end}");
        }
    }

    #[test]
    fn flags_that_basic_does_not_have_and_bytes_left_over_are_refused() {
        assert_eq!(Relevant::find(&[0, 1]), Err(Error::UnknownPropertyFlags(1)));
        assert_eq!(Relevant::find(&[0, 0, 9]), Err(Error::TrailingBytes { what: "properties", count: 1 }));
    }
}
