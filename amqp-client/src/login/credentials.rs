//! Credentials: user and password, and a provider of new ones when they expire.

use std::{error, fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

use zeroize::Zeroizing;

/// The reason why a provider or a mechanism has no answer.
pub type CredentialsError = Box<dyn error::Error + Send + Sync>;

/// A password or token. Its memory is wiped when it is dropped, and neither `Debug` nor any error
/// shows it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Password(Zeroizing<String>);

impl Password {
    /// Returns the password itself.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Tells whether the password is empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<String> for Password {
    fn from(password: String) -> Self {
        Password(Zeroizing::new(password))
    }
}

impl From<&str> for Password {
    fn from(password: &str) -> Self {
        password.to_owned().into()
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// User and password, and how long they are valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    pub(crate) user: String,
    pub(crate) password: Password,
    pub(crate) valid_for: Option<Duration>,
}

impl Credentials {
    /// Makes credentials that do not expire.
    pub fn new(user: impl Into<String>, password: impl Into<Password>) -> Self {
        Credentials { user: user.into(), password: password.into(), valid_for: None }
    }

    /// Sets how long they are valid: new ones are requested when four fifths of that time have
    /// passed.
    pub fn valid_for(mut self, duration: Duration) -> Self {
        self.valid_for = Some(duration);
        self
    }

    /// Returns the user's name.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// Returns the password.
    pub fn password(&self) -> &Password {
        &self.password
    }
}

/// The future that a [`CredentialsProvider`] returns.
pub type CredentialsFuture<'a> =
    Pin<Box<dyn Future<Output = Result<Credentials, CredentialsError>> + Send + 'a>>;

/// A source of credentials, which is asked at each connect and before the last ones expire. Any
/// `Fn() -> impl Future<Output = Result<Credentials, CredentialsError>>` is one.
pub trait CredentialsProvider: Send + Sync + 'static {
    /// Returns credentials, to log in with or to renew those of an open connection.
    ///
    /// # Cancel safety
    /// The future is dropped at the connect deadline, and when the connection ends.
    fn credentials(&self) -> CredentialsFuture<'_>;
}

impl<F, Fut> CredentialsProvider for F
where
    F: Fn() -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Credentials, CredentialsError>> + Send + 'static,
{
    fn credentials(&self) -> CredentialsFuture<'_> {
        Box::pin(self())
    }
}

/// A provider, as options hold it.
#[derive(Clone)]
pub(crate) struct Provider(pub(crate) Arc<dyn CredentialsProvider>);

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a credentials provider")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_shows_a_password() {
        let credentials = Credentials::new("ada", "hunter2").valid_for(Duration::from_secs(1));
        assert!(!format!("{credentials:?}").contains("hunter2"));
        assert_eq!(credentials.password().expose(), "hunter2");
    }
}
