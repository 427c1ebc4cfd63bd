//! The state of a transport's connections.

use std::fmt;

/// Which of a transport's connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Role {
    /// The one that publishes.
    Publish,
    /// The one that consumes, with the queue of replies.
    Consume,
    /// The one that reads [streams](crate::Topology::stream_fanout).
    Stream,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Role::Publish => "publish",
            Role::Consume => "consume",
            Role::Stream => "stream",
        })
    }
}

/// How a transport, or one of its connections, is doing.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ConnectionState {
    /// It is not open: whoever needs it first opens it.
    Idle,
    /// Everything works.
    Connected,
    /// The broker takes no publishes.
    Blocked {
        /// The broker's words, such as "low on memory".
        reason: String,
    },
    /// It is being opened.
    Connecting {
        /// Which attempt it is, from 1.
        attempt: u32,
    },
    /// It was lost, or could not be opened, and nobody has needed it since: whoever does opens it.
    Lost {
        /// Why.
        reason: amqp_client::Error,
    },
    /// It was lost and is being recovered.
    Recovering {
        /// Attempts that have begun, the pause before each counted in.
        attempt: u32,
        /// Why it was lost.
        reason: amqp_client::Error,
    },
    /// The transport was closed.
    Closed,
}

impl ConnectionState {
    /// The worst of several states.
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
