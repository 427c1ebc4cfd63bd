//! Passwords of requests, checked on threads of their own and once a connection.

use std::{fmt, sync::Arc};

use tokio::sync::Semaphore;

use crate::{broker::Broker, sync::Mutex};

/// The most passwords that are checked at a time: logins must not take all processors from those
/// who are logged in.
const MOST_CHECKS: usize = 2;

/// The checks that are under way, of all connections of a listener.
#[derive(Clone, Debug)]
pub(crate) struct PasswordChecks(Arc<Semaphore>);

/// The last login of a connection that was right. A browser sends it with each request.
#[derive(Clone, Default)]
pub(crate) struct KnownLogin(Arc<Mutex<Option<Login>>>);

#[derive(Clone, PartialEq, Eq)]
struct Login {
    user: String,
    password: String,
    /// The number of changes of users before it was checked: a later one may have changed the
    /// password.
    changes: u64,
}

impl Default for PasswordChecks {
    fn default() -> Self {
        PasswordChecks(Arc::new(Semaphore::new(MOST_CHECKS)))
    }
}

impl PasswordChecks {
    /// Tells whether the password is the user's.
    ///
    /// # Cancel safety
    /// A check that has begun goes on, and others wait for it.
    pub(crate) async fn is_right(
        &self,
        broker: &Broker,
        known: &KnownLogin,
        user: &str,
        password: &str,
    ) -> bool {
        let changes = broker.inner.config.users.changes();
        let login = Login { user: user.to_owned(), password: password.to_owned(), changes };
        if known.0.lock().as_ref() == Some(&login) {
            return true;
        }
        let Ok(place) = Arc::clone(&self.0).acquire_owned().await else { return false };
        let (broker, known) = (broker.clone(), known.clone());
        let checking = tokio::task::spawn_blocking(move || {
            let _place = place;
            let is_right = broker.inner.config.users.may_log_in(&login.user, &login.password);
            if is_right {
                *known.0.lock() = Some(login);
            }
            is_right
        });
        checking.await.unwrap_or(false)
    }
}

// The password is not shown.
impl fmt::Debug for KnownLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let user = self.0.lock().as_ref().map(|login| login.user.clone());
        f.debug_struct("KnownLogin").field("user", &user).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn a_login_is_known_on_its_connection_until_users_change() {
        let broker = Broker::builder().user("ada", "secret").build();
        let (checks, known) = (PasswordChecks::default(), KnownLogin::default());
        let at_once = |check| timeout(Duration::ZERO, check);
        let is_right = async |user, password| checks.is_right(&broker, &known, user, password).await;
        assert!(!is_right("ada", "wrong").await && known.0.lock().is_none());
        assert!(is_right("ada", "secret").await && known.0.lock().is_some());
        assert_eq!(format!("{known:?}"), "KnownLogin { user: Some(\"ada\"), .. }");
        // With no room for a check, only what is known is answered.
        let all = checks.0.acquire_many(MOST_CHECKS as u32).await.unwrap();
        assert!(is_right("ada", "secret").await);
        assert!(at_once(is_right("ada", "wrong")).await.is_err());
        broker.add_user("ada", "other");
        assert!(at_once(is_right("ada", "secret")).await.is_err());
        drop(all);
        assert!(!is_right("ada", "secret").await && is_right("ada", "other").await);
    }
}
