//! The login: the mechanisms of SASL (RFC 4422), and a trait for custom ones.

use std::{fmt, sync::Arc};

use amqp_codec::{Secret, sasl};
use bytes::Bytes;
use zeroize::Zeroizing;

use crate::login::credentials::{Credentials, CredentialsError};

/// One login by one mechanism. A value serves one connection, so it may keep what it needs between
/// the rounds.
pub trait SaslMechanism: Send {
    /// Returns the name by which the broker offers it, such as `PLAIN`.
    fn name(&self) -> &str;

    /// Returns the response for `connection.start-ok`.
    ///
    /// # Errors
    /// The reason why a login with these credentials is impossible.
    fn response(&mut self, credentials: &Credentials) -> Result<Secret, CredentialsError>;

    /// Answers the challenge of a `connection.secure`. Returns the response for
    /// `connection.secure-ok`.
    ///
    /// # Errors
    /// The reason why there is no answer. The default implementation knows no challenges.
    fn challenge(&mut self, credentials: &Credentials, challenge: &[u8]) -> Result<Secret, CredentialsError> {
        let _ = (credentials, challenge);
        Err(format!("the broker sent a challenge, and {} answers none", self.name()).into())
    }
}

/// A mechanism to log in with. The first of
/// [`ConnectOptions::mechanisms`](crate::ConnectOptions::mechanisms) that the broker offers is
/// used.
#[derive(Clone)]
#[non_exhaustive]
pub enum Mechanism {
    /// User and password (RFC 4616). Over plain TCP anyone on the way can read them.
    Plain,
    /// User and password in the form of AMQP 0-8.
    AmqPlain,
    /// The client certificate of the TLS connection identifies the user (RFC 4422, appendix A);
    /// user and password are not sent.
    External,
    /// A custom mechanism, made anew for each login.
    Custom(Arc<dyn Fn() -> Box<dyn SaslMechanism> + Send + Sync>),
}

impl Mechanism {
    /// Makes a custom mechanism; `make` is called for each login.
    pub fn custom<M: SaslMechanism + 'static>(make: impl Fn() -> M + Send + Sync + 'static) -> Self {
        Mechanism::Custom(Arc::new(move || Box::new(make())))
    }

    /// Returns the built-in mechanism of this name, in upper or lower case: URIs have them in lower
    /// case.
    pub(crate) fn by_name(name: &str) -> Option<Self> {
        [Mechanism::Plain, Mechanism::AmqPlain, Mechanism::External]
            .into_iter()
            .find(|mechanism| mechanism.begin().name().eq_ignore_ascii_case(name))
    }

    /// Begins one login.
    pub(crate) fn begin(&self) -> Box<dyn SaslMechanism> {
        match self {
            Mechanism::Plain => Box::new(Plain),
            Mechanism::AmqPlain => Box::new(AmqPlain),
            Mechanism::External => Box::new(External),
            Mechanism::Custom(make) => make(),
        }
    }
}

impl fmt::Debug for Mechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.begin().name())
    }
}

struct Plain;

impl SaslMechanism for Plain {
    fn name(&self) -> &str {
        sasl::PLAIN
    }

    fn response(&mut self, credentials: &Credentials) -> Result<Secret, CredentialsError> {
        let (user, password) = (&credentials.user, credentials.password.expose());
        // A NUL would end the user name or the password early.
        if user.contains('\0') || password.contains('\0') {
            return Err("PLAIN cannot carry a user name or password that contains a NUL".into());
        }
        Ok(joined(&[b"\0", user.as_bytes(), b"\0", password.as_bytes()]))
    }
}

struct AmqPlain;

impl SaslMechanism for AmqPlain {
    fn name(&self) -> &str {
        sasl::AMQPLAIN
    }

    /// Writes the entries of a field table by hand, because the memory of the codec's tables is not
    /// wiped.
    fn response(&mut self, credentials: &Credentials) -> Result<Secret, CredentialsError> {
        let (user, password) = (&credentials.user, credentials.password.expose());
        let user_len = u32::try_from(user.len())?.to_be_bytes();
        let password_len = u32::try_from(password.len())?.to_be_bytes();
        Ok(joined(&[
            b"\x05LOGINS",
            &user_len,
            user.as_bytes(),
            b"\x08PASSWORDS",
            &password_len,
            password.as_bytes(),
        ]))
    }
}

struct External;

impl SaslMechanism for External {
    fn name(&self) -> &str {
        sasl::EXTERNAL
    }

    /// Sends nothing, which means the identity in the certificate.
    fn response(&mut self, _credentials: &Credentials) -> Result<Secret, CredentialsError> {
        Ok(sasl::external(""))
    }
}

/// Joins the parts to one secret, whose memory is wiped when it is dropped.
fn joined(parts: &[&[u8]]) -> Secret {
    secret(parts.concat())
}

/// Bytes whose memory is wiped when their last owner is dropped.
pub(crate) fn secret(bytes: Vec<u8>) -> Secret {
    Secret::from(Bytes::from_owner(Zeroizing::new(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(mechanism: &Mechanism) -> Secret {
        mechanism.begin().response(&Credentials::new("ada", "p:w")).unwrap()
    }

    #[test]
    fn the_responses_are_those_that_the_codec_reads() {
        assert_eq!(sasl::parse_plain(&response(&Mechanism::Plain)).unwrap(), ("ada", "p:w"));
        assert_eq!(response(&Mechanism::AmqPlain).expose(), sasl::amqplain("ada", "p:w").unwrap().expose());
        assert_eq!(response(&Mechanism::External).expose(), b"");
    }

    #[test]
    fn a_nul_in_a_password_is_refused_where_it_would_cut_it() {
        let error = Plain.response(&Credentials::new("ada", "hunter\u{0}2")).unwrap_err().to_string();
        assert!(error.contains("NUL") && !error.contains("hunter"), "{error}");
        assert!(AmqPlain.response(&Credentials::new("ada", "hunter\u{0}2")).is_ok());
    }

    #[test]
    fn mechanisms_are_found_by_name_in_any_case() {
        assert!(matches!(Mechanism::by_name("external"), Some(Mechanism::External)));
        assert!(matches!(Mechanism::by_name("AMQPLAIN"), Some(Mechanism::AmqPlain)));
        assert!(Mechanism::by_name("SCRAM-SHA-256").is_none());
    }

    #[test]
    fn a_second_round_is_refused_unless_the_mechanism_has_one() {
        let error = Plain.challenge(&Credentials::new("ada", "pw"), b"more").unwrap_err().to_string();
        assert_eq!(error, "the broker sent a challenge, and PLAIN answers none");
    }
}
