//! When publishers are held back.

use amqp_codec::ShortString;

use crate::core::entities::ids::ConnectionId;

/// What clients are told when memory or the disk is low, in RabbitMQ's words.
const LOW_ON_MEMORY: ShortString = ShortString::from_static("low on memory");
const LOW_ON_DISK: ShortString = ShortString::from_static("low on disk");
const LOW_ON_BOTH: ShortString = ShortString::from_static("low on memory & disk");

/// Why publishers are held back, and who is.
#[derive(Debug, Default)]
pub(crate) struct Alarm {
    /// Somebody wants it so, and why.
    wanted: Option<ShortString>,
    is_low_on_memory: bool,
    is_low_on_disk: bool,
    /// The disk cannot follow: nobody is told.
    is_behind: bool,
    /// Those who have published since, and whether each is to be told when it may go on.
    held: Vec<(ConnectionId, bool)>,
}

impl Alarm {
    #[inline]
    pub(crate) fn is_on(&self) -> bool {
        self.is_behind || self.is_told()
    }

    /// Whether those who are held back are told.
    pub(crate) fn is_told(&self) -> bool {
        self.is_low_on_memory || self.is_low_on_disk || self.wanted.is_some()
    }

    pub(crate) fn is_low_on_memory(&self) -> bool {
        self.is_low_on_memory
    }

    /// What to say to who is held back.
    pub(crate) fn reason(&self) -> ShortString {
        let low = match (self.is_low_on_memory, self.is_low_on_disk) {
            (true, true) => LOW_ON_BOTH,
            (false, true) => LOW_ON_DISK,
            _ => LOW_ON_MEMORY,
        };
        self.wanted.clone().unwrap_or(low)
    }

    /// Holds back who has published.
    pub(crate) fn hold(&mut self, id: ConnectionId, told: bool) {
        self.held.push((id, told));
    }

    /// Whether it is held back.
    pub(crate) fn holds(&self, id: ConnectionId) -> bool {
        self.held.iter().any(|(held, _)| *held == id)
    }

    /// It has gone.
    pub(crate) fn forget(&mut self, id: ConnectionId) {
        self.held.retain(|(held, _)| *held != id);
    }

    /// Somebody wants publishers to be held back, or no longer; those who may go on.
    pub(crate) fn want(&mut self, reason: Option<ShortString>) -> Vec<(ConnectionId, bool)> {
        self.wanted = reason;
        self.released()
    }

    /// Memory is low, or no longer; those who may go on.
    pub(crate) fn low_on_memory(&mut self, is_low: bool) -> Vec<(ConnectionId, bool)> {
        self.is_low_on_memory = is_low;
        self.released()
    }

    /// There is little room on the disk, or no longer; those who may go on.
    #[cfg(feature = "durable")]
    pub(crate) fn low_on_disk(&mut self, is_low: bool) -> Vec<(ConnectionId, bool)> {
        self.is_low_on_disk = is_low;
        self.released()
    }

    /// The disk cannot follow, or can again; those who may go on.
    pub(crate) fn behind(&mut self, is_behind: bool) -> Vec<(ConnectionId, bool)> {
        self.is_behind = is_behind;
        self.released()
    }

    fn released(&mut self) -> Vec<(ConnectionId, bool)> {
        if self.is_on() { Vec::new() } else { std::mem::take(&mut self.held) }
    }
}
