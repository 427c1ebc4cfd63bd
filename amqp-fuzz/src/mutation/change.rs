//! What was done to a stream of frames.

use std::fmt;

/// What a mutation looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Level {
    /// The bytes of a payload, whatever they mean.
    Bytes,
    /// A frame: its type, channel, size and end.
    Frames,
    /// The arguments of a method, and the properties of content.
    Arguments,
    /// The order of frames.
    Order,
}

impl Level {
    /// Every level.
    pub const ALL: &[Level] = &[Level::Bytes, Level::Frames, Level::Arguments, Level::Order];
}

/// One change. `Display` tells it in a line, for those who read a reproducer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The level of the change.
    pub level: Level,
    /// The index of the frame, among those given.
    pub frame: usize,
    /// What was done to it.
    pub what: String,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "frame {}: {}", self.frame, self.what)
    }
}
