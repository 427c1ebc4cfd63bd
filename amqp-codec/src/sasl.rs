//! SASL responses: how a client logs in.
//!
//! | mechanism | response |
//! |---|---|
//! | PLAIN | RFC 4616: authorisation identity, NUL, user, NUL, password |
//! | AMQPLAIN | the entries of a field table with `LOGIN` and `PASSWORD`, as AMQP 0-8 had it |
//! | EXTERNAL | RFC 4422: an identity or nothing; the proof is outside, in a TLS certificate |
//! | ANONYMOUS | RFC 4505: a trace or nothing |

use std::str;

use bytes::Bytes;

use crate::{
    error::Error,
    table::{Table, Value},
    wire::text::Secret,
};

/// The name of PLAIN in `connection.start` and `connection.start-ok`.
pub const PLAIN: &str = "PLAIN";
/// The name of AMQPLAIN.
pub const AMQPLAIN: &str = "AMQPLAIN";
/// The name of EXTERNAL.
pub const EXTERNAL: &str = "EXTERNAL";
/// The name of ANONYMOUS.
pub const ANONYMOUS: &str = "ANONYMOUS";

/// The user and password as a PLAIN response. Neither may contain a NUL, which [`parse_plain`]
/// would take for a separator.
pub fn plain(user: &str, password: &str) -> Secret {
    Secret::from(format!("\0{user}\0{password}"))
}

/// Reads a PLAIN response: user and password. An authorisation identity before the first NUL is
/// ignored, as RabbitMQ does.
///
/// # Errors
/// [`Error::MalformedSasl`] without two NULs, or when a part is not UTF-8.
pub fn parse_plain(response: &Secret) -> Result<(&str, &str), Error> {
    let malformed = || Error::MalformedSasl(PLAIN);
    let text = str::from_utf8(response.expose()).map_err(|_| malformed())?;
    let (_authorisation, login) = text.split_once('\0').ok_or_else(malformed)?;
    login.split_once('\0').ok_or_else(malformed)
}

/// The user and password as an AMQPLAIN response.
///
/// # Errors
/// [`Error::TooLong`] for 4 GiB.
pub fn amqplain(user: &str, password: &str) -> Result<Secret, Error> {
    let mut login = Table::new();
    login.push("LOGIN", user)?;
    login.push("PASSWORD", password)?;
    Ok(Secret::from(login.as_encoded().clone()))
}

/// Reads an AMQPLAIN response: user and password. Further entries are ignored, as RabbitMQ does.
///
/// # Errors
/// [`Error::MalformedSasl`] when it is not a table with both entries as long strings of UTF-8.
pub fn parse_amqplain(response: &Secret) -> Result<(String, Secret), Error> {
    let malformed = |_| Error::MalformedSasl(AMQPLAIN);
    let login = Table::from_encoded(Bytes::copy_from_slice(response.expose())).map_err(malformed)?;
    let entry = |key| match login.get(key) {
        Some(Value::LongString(text)) => Ok(text),
        _ => Err(Error::MalformedSasl(AMQPLAIN)),
    };
    let user = entry("LOGIN")?;
    let password = entry("PASSWORD")?;
    match (user.as_str(), password.as_str()) {
        (Ok(user), Ok(_)) => Ok((user.to_owned(), Secret::from(password))),
        _ => Err(Error::MalformedSasl(AMQPLAIN)),
    }
}

/// An EXTERNAL response: empty for the identity that the certificate proves, or another identity to
/// act as.
pub fn external(identity: &str) -> Secret {
    Secret::from(identity)
}

/// An ANONYMOUS response: a word for the broker's log, or nothing.
pub fn anonymous(trace: &str) -> Secret {
    Secret::from(trace)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_is_read_as_written() {
        assert_eq!(parse_plain(&plain("guest", "p:\u{e9}")).unwrap(), ("guest", "p:\u{e9}"));
        assert_eq!(parse_plain(&Secret::from("guest")), Err(Error::MalformedSasl("PLAIN")));
    }

    #[test]
    fn amqplain_is_a_table_without_its_length() {
        let response = amqplain("guest", "secret").unwrap();
        assert_eq!(response.expose(), b"\x05LOGINS\0\0\0\x05guest\x08PASSWORDS\0\0\0\x06secret");
        let (user, password) = parse_amqplain(&response).unwrap();
        assert_eq!((user.as_str(), password.expose()), ("guest", &b"secret"[..]));
    }

    #[test]
    fn external_and_anonymous_carry_a_word_or_nothing() {
        assert_eq!((external("").expose(), external("app").expose()), (&b""[..], &b"app"[..]));
        assert_eq!((anonymous("").expose(), anonymous("probe").expose()), (&b""[..], &b"probe"[..]));
    }

    #[test]
    fn amqplain_without_both_entries_is_malformed() {
        for response in
            [&b""[..], b"\x05LOGINS\0\0\0\x05guest", b"\x05LOGIN", b"\x05LOGINt\x01\x08PASSWORDS\0\0\0\0"]
        {
            let response = Secret::from(Bytes::copy_from_slice(response));
            assert_eq!(parse_amqplain(&response), Err(Error::MalformedSasl("AMQPLAIN")));
        }
    }
}
