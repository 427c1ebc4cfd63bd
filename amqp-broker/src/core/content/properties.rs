//! The few properties that the broker reads or changes; they are found in the encoded property list
//! without decoding the others.

use amqp_codec::{Error, content::CONTENT_HEADER_LEN};

const HEADERS: u16 = 1 << 13;
const DELIVERY_MODE: u16 = 1 << 12;
const PRIORITY: u16 = 1 << 11;
const REPLY_TO: u16 = 1 << 9;
const EXPIRATION: u16 = 1 << 8;
const TIMESTAMP: u16 = 1 << 6;
const USER_ID: u16 = 1 << 4;

/// The properties that routing, expiry, ordering and the login check need.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Relevant<'a> {
    /// The header table's entries.
    pub(crate) headers: Option<&'a [u8]>,
    pub(crate) priority: Option<u8>,
    /// The time to live in milliseconds, as text.
    pub(crate) expiration: Option<&'a [u8]>,
    pub(crate) user_id: Option<&'a [u8]>,
    pub(crate) reply_to: Option<&'a [u8]>,
}

impl<'a> Relevant<'a> {
    /// Finds the properties in their encoded form.
    ///
    /// # Errors
    /// Flags that basic does not have, a property that reaches past the end, bytes left over.
    #[inline]
    pub(crate) fn find(encoded: &'a [u8]) -> Result<Self, Error> {
        // Most messages have none of them.
        if Self::are_none(encoded) {
            return Ok(Relevant::default());
        }
        let Some((flags, rest)) = encoded.split_first_chunk::<2>() else {
            return Err(Error::Truncated { what: "property flags", needed: 2, left: encoded.len() });
        };
        Self::walk(u16::from_be_bytes(*flags), rest)
    }

    /// Tells quickly whether none of them is set: there is no property at all, or a delivery mode
    /// only.
    #[inline]
    pub(crate) fn are_none(encoded: &[u8]) -> bool {
        matches!(encoded, [0, 0] | [0x10, 0, _])
    }

    /// Walks property by property in the order of the flags (spec section 4.2.6.1).
    fn walk(flags: u16, mut rest: &'a [u8]) -> Result<Self, Error> {
        if flags & 0b11 != 0 {
            return Err(Error::UnknownPropertyFlags(flags));
        }
        let mut found = Relevant::default();
        for bit in flags_of(flags) {
            let (length_octets, whole, after) = split(rest, bit)?;
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

/// Changes to a message's properties.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Changes<'a> {
    /// The header table's entries.
    pub(crate) headers: Option<&'a [u8]>,
    pub(crate) reply_to: Option<&'a [u8]>,
    /// Removes the expiration.
    pub(crate) lasting: bool,
    /// Sets delivery mode 1 where there is none.
    pub(crate) transient: bool,
}

impl Changes<'_> {
    /// A content header frame's payload with the changes.
    ///
    /// # Errors
    /// Properties that cannot be read, or are too long.
    pub(crate) fn apply(&self, header: &[u8]) -> Result<Vec<u8>, Error> {
        let (fixed, encoded) = take(header, CONTENT_HEADER_LEN, "content header")?;
        let (flags, mut rest) = take(encoded, 2, "property flags")?;
        let old = length(flags) as u16;
        let mut new = old;
        for (bit, is_there) in [(HEADERS, self.headers.is_some()), (REPLY_TO, self.reply_to.is_some())] {
            new |= if is_there { bit } else { 0 };
        }
        if self.lasting {
            new &= !EXPIRATION;
        }
        if self.transient {
            new |= DELIVERY_MODE;
        }
        let mut changed = [fixed, &new.to_be_bytes()].concat();
        for bit in flags_of(old | new) {
            let mut whole = &[][..];
            if old & bit != 0 {
                (_, whole, rest) = split(rest, bit)?;
            }
            match (bit, self.headers, self.reply_to) {
                _ if new & bit == 0 => {}
                (HEADERS, Some(headers), _) => put(headers, 4, &mut changed)?,
                (REPLY_TO, _, Some(reply_to)) => put(reply_to, 1, &mut changed)?,
                (DELIVERY_MODE, ..) if old & bit == 0 => changed.push(1),
                _ => changed.extend_from_slice(whole),
            }
        }
        Ok(changed)
    }
}

/// Appends a property whose length takes this many octets.
fn put(value: &[u8], length_octets: usize, out: &mut Vec<u8>) -> Result<(), Error> {
    let octets = value.len().to_be_bytes();
    let (above, length) = octets.split_at_checked(octets.len() - length_octets).unwrap_or_default();
    if above.iter().any(|octet| *octet != 0) {
        let limit = (1 << (8 * length_octets)) - 1;
        return Err(Error::TooLong { what: "property", length: value.len() as u64, limit });
    }
    out.extend_from_slice(length);
    out.extend_from_slice(value);
    Ok(())
}

/// The flags that are set, in the order of their properties.
fn flags_of(flags: u16) -> impl Iterator<Item = u16> {
    let mut left = flags & !0b11;
    std::iter::from_fn(move || {
        let bit = 0x8000u16.checked_shr(left.leading_zeros())?;
        left ^= bit;
        Some(bit)
    })
}

/// Splits off the property of this flag: how many octets its length takes, the whole property, and
/// the rest.
fn split(rest: &[u8], bit: u16) -> Result<(usize, &[u8], &[u8]), Error> {
    let (length_octets, what): (usize, _) = match bit {
        HEADERS => (4, "headers"),
        DELIVERY_MODE | PRIORITY | TIMESTAMP => (0, "property"),
        _ => (1, "property"),
    };
    let size = match bit {
        DELIVERY_MODE | PRIORITY => 1,
        TIMESTAMP => 8,
        HEADERS => 4 + length(take(rest, 4, what)?.0),
        _ => 1 + length(take(rest, 1, what)?.0),
    };
    let (whole, after) = take(rest, size, what)?;
    Ok((length_octets, whole, after))
}

/// Tells whether the delivery mode asks for persistence.
pub(crate) fn is_persistent(encoded: &[u8]) -> bool {
    let Some((flags, mut rest)) = encoded.split_first_chunk::<2>() else { return false };
    let flags = u16::from_be_bytes(*flags);
    if flags & DELIVERY_MODE == 0 {
        return false;
    }
    // Content type, content encoding and headers precede it.
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
    fn what_is_changed_is_changed_and_all_else_stays() {
        let text = |text: &'static str| Some(ShortString::from_static(text));
        let mut headers = Table::new();
        headers.insert("k", "v").unwrap();
        let sparse = Properties { expiration: text("5"), app_id: text("g"), ..Default::default() };
        let full = Properties {
            content_type: text("a"),
            headers: Some(Table::new()),
            delivery_mode: Some(2),
            reply_to: text("old"),
            timestamp: Some(1),
            ..sparse.clone()
        };
        for properties in [Properties::default(), sparse, full] {
            let header = [&[7; CONTENT_HEADER_LEN][..], properties.encode().unwrap().as_encoded()].concat();
            assert_eq!(Changes::default().apply(&header), Ok(header.clone()));
            let changes = Changes {
                headers: Some(headers.as_encoded()),
                reply_to: Some(b"new"),
                lasting: true,
                transient: true,
            };
            let changed = Properties {
                headers: Some(headers.clone()),
                reply_to: text("new"),
                expiration: None,
                delivery_mode: properties.delivery_mode.or(Some(1)),
                ..properties
            };
            let changed = [&[7; CONTENT_HEADER_LEN][..], changed.encode().unwrap().as_encoded()].concat();
            assert_eq!(changes.apply(&header), Ok(changed));
        }
        assert!(Changes { reply_to: Some(&[b'x'; 256]), ..Default::default() }.apply(&[0; 14]).is_err());
    }

    #[test]
    fn flags_that_basic_does_not_have_and_bytes_left_over_are_refused() {
        assert_eq!(Relevant::find(&[0, 1]), Err(Error::UnknownPropertyFlags(1)));
        assert_eq!(Relevant::find(&[0, 0, 9]), Err(Error::TrailingBytes { what: "properties", count: 1 }));
    }
}
