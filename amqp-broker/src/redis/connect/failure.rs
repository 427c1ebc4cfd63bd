//! What an error of Redis means to a client of the gateway.

use redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::backend::BackendError;

/// The error that a client is told whose Redis is a cluster.
pub(super) const NO_CLUSTER: &str = "this Redis is a node of a cluster, where a queue's lists and claims \
     cannot be changed in one step; use a single Redis or Sentinel";

/// The error that the client gets. None of Redis's texts contains a secret: they name commands,
/// keys and users.
pub(crate) fn backend_error(error: &RedisError) -> BackendError {
    if is_refused(error) {
        return BackendError::AccessRefused(format!("Redis refuses access: {}", words(error)));
    }
    if is_of_cluster(error) {
        return BackendError::NotImplemented(NO_CLUSTER.to_owned());
    }
    let text = match verdict(error) {
        Some(ServerErrorKind::BusyLoading) => "Redis is loading its data".to_owned(),
        Some(ServerErrorKind::ReadOnly) => "this Redis is a replica now, and takes no writes".to_owned(),
        Some(ServerErrorKind::MasterDown) => "the Redis master is down".to_owned(),
        _ if error.is_timeout() => "Redis does not answer in time".to_owned(),
        _ => format!("Redis failed: {}", words(error)),
    };
    BackendError::Unavailable(text)
}

/// Tells whether a node of a cluster has answered: such a node has no other database than 0, and
/// not all keys.
fn is_of_cluster(error: &RedisError) -> bool {
    let has_slots = matches!(
        verdict(error),
        Some(
            ServerErrorKind::Moved
                | ServerErrorKind::Ask
                | ServerErrorKind::TryAgain
                | ServerErrorKind::ClusterDown
                | ServerErrorKind::CrossSlot
        )
    );
    has_slots || error.detail().is_some_and(|detail| detail.contains("not allowed in cluster mode"))
}

/// Redis cannot be reached, for this reason.
pub(super) fn unavailable(text: String) -> BackendError {
    BackendError::Unavailable(text)
}

/// Whether the connection is of no use after this error: it is broken, or leads to a server that
/// takes no writes.
pub(crate) fn is_lost(error: &RedisError) -> bool {
    let unfit = matches!(
        verdict(error),
        Some(ServerErrorKind::BusyLoading | ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown)
    );
    unfit || error.is_io_error() || error.is_timeout() || error.is_unrecoverable_error()
}

/// What the server answered; if it refused a transaction, what it answered to the first command of
/// it that was wrong.
fn verdict(error: &RedisError) -> Option<ServerErrorKind> {
    if let ErrorKind::Server(kind) = error.kind()
        && kind != ServerErrorKind::ExecAbort
    {
        return Some(kind);
    }
    error.clone().into_server_errors()?.first().and_then(|(_, error)| error.kind())
}

/// Whether the server does not know a command, or does not let this login use it.
pub(crate) fn is_forbidden(error: &RedisError) -> bool {
    let unknown = error.detail().is_some_and(|detail| detail.contains("unknown command"));
    unknown || verdict(error) == Some(ServerErrorKind::NoPerm)
}

fn is_refused(error: &RedisError) -> bool {
    let code = matches!(error.code(), Some("NOPERM" | "NOAUTH" | "WRONGPASS"));
    let denied = verdict(error) == Some(ServerErrorKind::NoPerm);
    code || denied || error.kind() == ErrorKind::AuthenticationFailed
}

/// The error in one line.
fn words(error: &RedisError) -> String {
    match (error.code(), error.detail()) {
        (Some(code), Some(detail)) => format!("{code} {detail}"),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(code: &str, detail: &str) -> RedisError {
        redis::make_extension_error(code.to_owned(), Some(detail.to_owned()))
    }

    #[test]
    fn refusals_are_verdicts_and_not_losses() {
        for code in ["NOAUTH", "WRONGPASS"] {
            let error = server(code, "who are you");
            assert!(matches!(backend_error(&error), BackendError::AccessRefused(_)), "{code}");
            assert!(!is_lost(&error), "{code}");
        }
    }

    #[test]
    fn an_answer_of_a_cluster_is_told_from_a_failure() {
        let database = server("ERR", "SELECT is not allowed in cluster mode");
        let moved = RedisError::from((ErrorKind::Server(ServerErrorKind::Moved), "MOVED"));
        for error in [database, moved] {
            assert_eq!(backend_error(&error), BackendError::NotImplemented(NO_CLUSTER.to_owned()));
        }
    }

    #[test]
    fn an_unfit_server_and_a_broken_connection_are_losses() {
        let broken = RedisError::from(std::io::Error::from(std::io::ErrorKind::BrokenPipe));
        let unfit = [ServerErrorKind::ReadOnly, ServerErrorKind::BusyLoading, ServerErrorKind::MasterDown];
        let unfit = unfit.map(|kind| RedisError::from((ErrorKind::Server(kind), "no")));
        for error in unfit.into_iter().chain([broken]) {
            assert!(is_lost(&error));
            assert!(matches!(backend_error(&error), BackendError::Unavailable(_)));
        }
    }
}
