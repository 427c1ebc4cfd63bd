//! Who logs in.

use std::{fmt, sync::Arc};

/// A login at Redis. `Debug` leaves the password out.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct RedisLogin {
    /// The user; `None` for the default user.
    pub user: Option<String>,
    /// The password; `None` when there is no login.
    pub password: Option<String>,
}

impl fmt::Debug for RedisLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let password = self.password.as_ref().map(|_| "[redacted]");
        f.debug_struct("RedisLogin").field("user", &self.user).field("password", &password).finish()
    }
}

/// Asks for the login of each new connection, and again while a connection lasts.
#[derive(Clone)]
pub(crate) struct Credentials(Arc<dyn Fn() -> RedisLogin + Send + Sync>);

impl Credentials {
    pub(super) fn new(ask: impl Fn() -> RedisLogin + Send + Sync + 'static) -> Self {
        Credentials(Arc::new(ask))
    }

    pub(crate) fn login(&self) -> RedisLogin {
        (self.0)()
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials")
    }
}
