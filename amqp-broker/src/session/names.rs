//! RabbitMQ's treatment of names in declare, delete, bind and unbind.

use amqp_codec::ShortString;

/// Removes carriage returns and line feeds from a name. RabbitMQ does so in declare, delete, bind
/// and unbind, but not in publish and consume.
#[inline]
pub(crate) fn strip(name: &mut ShortString) {
    if memchr::memchr2(b'\r', b'\n', name.as_bytes()).is_some() {
        let kept: Vec<u8> =
            name.as_bytes().iter().copied().filter(|octet| !b"\r\n".contains(octet)).collect();
        // It can only become shorter, so it fits.
        *name = ShortString::from_bytes("name", kept.into()).unwrap_or_default();
    }
}

/// Does the same for both ends of a binding.
#[inline]
pub(crate) fn strip_both(one: &mut ShortString, other: &mut ShortString) {
    strip(one);
    strip(other);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_nowhere_in_a_name() {
        for (name, stripped) in [("a b", "a b"), ("\r\na\nb\r", "ab"), ("\n", ""), ("", "")] {
            let mut name = ShortString::try_from(name).unwrap();
            strip(&mut name);
            assert_eq!(name.as_bytes(), stripped.as_bytes());
        }
    }
}
