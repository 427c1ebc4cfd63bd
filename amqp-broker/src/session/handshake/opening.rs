//! The first octets of a client that does not speak AMQP 0-9-1.

use std::fmt;

/// The first octets of a client, padded with zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Opening(pub(crate) [u8; 8]);

// The text names the likely protocol, which helps to find a misconfigured client.
impl fmt::Display for Opening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            // AMQP 1.0 puts a protocol id before the version (its part 2, section 2.2).
            [b'A', b'M', b'Q', b'P', id, major, minor, revision] => {
                write!(f, "it asks for AMQP {id} {major} {minor} {revision}")
            }
            // This is a TLS handshake record, whose version begins with 3 (RFC 8446 section 5.1).
            [0x16, 3, ..] => f.write_str("it speaks TLS, which is not spoken at this address"),
            [b'G', b'E', b'T', b' ', ..]
            | [b'H', b'E', b'A', b'D', b' ', ..]
            | [b'P', b'O', b'S', b'T', b' ', ..]
            | [b'P', b'U', b'T', b' ', ..] => f.write_str("it speaks HTTP"),
            octets => {
                f.write_str("it begins with the octets")?;
                octets.iter().try_for_each(|octet| write!(f, " {octet:02x}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_stranger_most_likely_is_is_told() {
        for (octets, told) in [
            (b"AMQP\x00\x01\x00\x00", "it asks for AMQP 0 1 0 0"),
            (b"\x16\x03\x01\x02\x00\x01\x00\x01", "it speaks TLS, which is not spoken at this address"),
            (b"GET / HT", "it speaks HTTP"),
            (b"x\n\x1b\x00\x00\x00\x00\xff", "it begins with the octets 78 0a 1b 00 00 00 00 ff"),
        ] {
            assert_eq!(Opening(*octets).to_string(), told);
        }
    }
}
