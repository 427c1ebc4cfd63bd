//! The status of a transport's connections, without asking the broker.

use std::time::SystemTime;

use crate::connection::{
    history::LastError,
    lazy_connection::LazyConnection,
    state::{ConnectionState, Role},
};

/// The status of a transport at one moment; see [`Transport::status`](crate::Transport::status).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TransportStatus {
    /// Its connections: for publishing, for consuming and for streams.
    pub connections: Vec<ConnectionStatus>,
}

/// The status of a connection at one moment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConnectionStatus {
    /// Its purpose.
    pub connection: Role,
    /// Its state.
    pub state: ConnectionState,
    /// Since when it is connected; or since when it is not.
    pub since: SystemTime,
    /// Why it was lost, or could not be opened, the last time. This stays when it is connected
    /// again.
    pub last_error: Option<LastError>,
    /// Messages that now wait for the broker's confirm.
    pub unconfirmed: usize,
    /// Messages that were received and are not settled now.
    pub unacked: usize,
}

impl ConnectionStatus {
    pub(crate) fn of(link: &LazyConnection) -> Self {
        let (state, metrics, history) = (link.state(), link.metrics(), link.history());
        ConnectionStatus {
            connection: link.role(),
            since: history.since(is_connected(&state)),
            state,
            last_error: history.last_error(),
            unconfirmed: metrics.unconfirmed,
            unacked: metrics.unacked,
        }
    }

    /// Tells whether there is a connection, blocked or not.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        is_connected(&self.state)
    }

    /// Returns why the broker accepts no publishes, in its words.
    #[must_use]
    pub fn blocked(&self) -> Option<&str> {
        match &self.state {
            ConnectionState::Blocked { reason } => Some(reason),
            _ => None,
        }
    }
}

impl TransportStatus {
    /// Tells whether at least one connection is there, and none of those that were opened is
    /// missing. A connection that was never needed is not missing.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        let is_idle = |status: &ConnectionStatus| matches!(status.state, ConnectionState::Idle);
        let mut used = self.connections.iter().filter(|status| !is_idle(status)).peekable();
        used.peek().is_some() && used.all(ConnectionStatus::is_connected)
    }

    /// Returns why the broker accepts no publishes, in its words.
    #[must_use]
    pub fn blocked(&self) -> Option<&str> {
        self.connections.iter().find_map(ConnectionStatus::blocked)
    }

    /// Returns the last failure of any connection.
    #[must_use]
    pub fn last_error(&self) -> Option<&LastError> {
        self.connections.iter().filter_map(|status| status.last_error.as_ref()).max_by_key(|error| error.at)
    }

    /// Returns how many messages are on their way: published and not confirmed, or received and not
    /// settled.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.connections.iter().map(|status| status.unconfirmed + status.unacked).sum()
    }
}

fn is_connected(state: &ConnectionState) -> bool {
    matches!(state, ConnectionState::Connected | ConnectionState::Blocked { .. })
}
