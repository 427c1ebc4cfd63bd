//! The state of a transport's connections.

use std::fmt;

/// The role of one of a transport's connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Role {
    /// The connection for publishing.
    Publish,
    /// The connection for consuming, which also has the reply queue.
    Consume,
    /// The connection that reads [streams](crate::Topology::stream_fanout).
    Stream,
}

impl Role {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Role::Publish => "publish",
            Role::Consume => "consume",
            Role::Stream => "stream",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The state of a transport, or of one of its connections.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ConnectionState {
    /// The connection is not open: it is opened when it is first needed.
    Idle,
    /// The connection works.
    Connected,
    /// The broker accepts no publishes.
    Blocked {
        /// The broker's words, such as "low on memory".
        reason: String,
    },
    /// The connection is being opened.
    Connecting {
        /// The number of the present attempt, from 1.
        attempt: u32,
    },
    /// The connection was lost, or could not be opened, and was not needed since. It is opened when
    /// it is needed again.
    Lost {
        /// The cause.
        reason: amqp_client::Error,
    },
    /// The connection was lost and is being recovered.
    Recovering {
        /// The number of attempts that have begun, counted from the pause before each.
        attempt: u32,
        /// The cause of the loss.
        reason: amqp_client::Error,
    },
    /// The transport was closed.
    Closed,
}

impl ConnectionState {
    /// Returns the worst of several states.
    pub(crate) fn worst(states: impl IntoIterator<Item = Self>) -> Self {
        states.into_iter().max_by_key(Self::rank).unwrap_or(ConnectionState::Idle)
    }

    fn rank(&self) -> u8 {
        match self {
            ConnectionState::Idle => 0,
            ConnectionState::Connected => 1,
            ConnectionState::Blocked { .. } => 2,
            ConnectionState::Connecting { .. } => 3,
            ConnectionState::Lost { .. } => 4,
            ConnectionState::Recovering { .. } => 5,
            ConnectionState::Closed => 6,
        }
    }
}
