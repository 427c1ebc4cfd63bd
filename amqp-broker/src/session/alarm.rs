//! The alarm that holds publishers back.

use amqp_codec::ShortString;

use crate::core::entities::ids::ConnectionId;

/// The reason that clients are given when memory or disk space is low, in RabbitMQ's words.
const LOW_ON_MEMORY: ShortString = ShortString::from_static("low on memory");
const LOW_ON_DISK: ShortString = ShortString::from_static("low on disk");
const LOW_ON_BOTH: ShortString = ShortString::from_static("low on memory & disk");

/// The causes of the alarm, and the connections that are held back.
#[derive(Debug, Default)]
pub(crate) struct Alarm {
    /// The reason that a test or the embedding program gave.
    wanted: Option<ShortString>,
    is_low_on_memory: bool,
    is_low_on_disk: bool,
    /// The disk is too slow. Clients are not told of this cause.
    is_behind: bool,
    /// The connections that have published since, and whether each is to be told when it may
    /// continue.
    held_back: Vec<(ConnectionId, bool)>,
}

impl Alarm {
    #[inline]
    pub(crate) fn is_on(&self) -> bool {
        self.is_behind || self.is_told()
    }

    /// Tells whether connections that are held back are told.
    pub(crate) fn is_told(&self) -> bool {
        self.is_low_on_memory || self.is_low_on_disk || self.wanted.is_some()
    }

    pub(crate) fn is_low_on_memory(&self) -> bool {
        self.is_low_on_memory
    }

    #[cfg(feature = "management")]
    pub(crate) fn is_low_on_disk(&self) -> bool {
        self.is_low_on_disk
    }

    /// The reason that a connection is given.
    pub(crate) fn reason(&self) -> ShortString {
        let low = match (self.is_low_on_memory, self.is_low_on_disk) {
            (true, true) => LOW_ON_BOTH,
            (false, true) => LOW_ON_DISK,
            _ => LOW_ON_MEMORY,
        };
        self.wanted.clone().unwrap_or(low)
    }

    /// Holds back a connection that has published.
    pub(crate) fn hold(&mut self, id: ConnectionId, told: bool) {
        self.held_back.push((id, told));
    }

    /// Tells whether a connection is held back.
    pub(crate) fn holds(&self, id: ConnectionId) -> bool {
        self.held_back.iter().any(|(connection, _)| *connection == id)
    }

    /// Forgets a connection that is gone.
    pub(crate) fn forget(&mut self, id: ConnectionId) {
        self.held_back.retain(|(connection, _)| *connection != id);
    }

    /// Sets or clears the embedding program's reason; returns the connections that may continue.
    pub(crate) fn want(&mut self, reason: Option<ShortString>) -> Vec<(ConnectionId, bool)> {
        self.wanted = reason;
        self.released()
    }

    /// Sets or clears the cause that memory is low; returns the connections that may continue.
    pub(crate) fn low_on_memory(&mut self, is_low: bool) -> Vec<(ConnectionId, bool)> {
        self.is_low_on_memory = is_low;
        self.released()
    }

    /// Sets or clears the cause that disk space is low; returns the connections that may continue.
    #[cfg(feature = "durable")]
    pub(crate) fn low_on_disk(&mut self, is_low: bool) -> Vec<(ConnectionId, bool)> {
        self.is_low_on_disk = is_low;
        self.released()
    }

    /// Sets or clears the cause that the disk is too slow; returns the connections that may
    /// continue.
    pub(crate) fn behind(&mut self, is_behind: bool) -> Vec<(ConnectionId, bool)> {
        self.is_behind = is_behind;
        self.released()
    }

    fn released(&mut self) -> Vec<(ConnectionId, bool)> {
        if self.is_on() { Vec::new() } else { std::mem::take(&mut self.held_back) }
    }
}
