//! SASL responses: how a client logs in (spec section 4.2 of RFC 4616 for PLAIN).

use std::str;

use crate::{error::Error, text::Secret};

/// The mechanism's name in `connection.start` and `connection.start-ok`.
pub const PLAIN: &str = "PLAIN";

/// User and password as PLAIN carries them.
pub fn plain(user: &str, password: &str) -> Secret {
    Secret::from(format!("\0{user}\0{password}"))
}

/// Reads a PLAIN response: user and password. An authorisation identity before the first NUL is ignored, as RabbitMQ does.
///
/// # Errors
/// [`Error::MalformedSasl`] without two NULs, or when a part is not UTF-8.
pub fn parse_plain(response: &Secret) -> Result<(&str, &str), Error> {
    let malformed = || Error::MalformedSasl(PLAIN);
    let text = str::from_utf8(response.expose()).map_err(|_| malformed())?;
    let (_authorisation, login) = text.split_once('\0').ok_or_else(malformed)?;
    login.split_once('\0').ok_or_else(malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_is_read_as_written() {
        assert_eq!(parse_plain(&plain("guest", "p:\u{e9}")).unwrap(), ("guest", "p:\u{e9}"));
        assert_eq!(parse_plain(&Secret::from("guest")), Err(Error::MalformedSasl("PLAIN")));
    }
}
