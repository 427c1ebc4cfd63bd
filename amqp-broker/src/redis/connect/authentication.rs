//! Logging in on a connection that is open.

use crate::redis::options::RedisLogin;

/// The command that logs in; `None` without a password.
pub(crate) fn authentication(login: &RedisLogin) -> Option<redis::Cmd> {
    let password = login.password.as_ref()?;
    let mut command = redis::cmd("AUTH");
    if let Some(user) = &login.user {
        command.arg(user);
    }
    command.arg(password);
    Some(command)
}
