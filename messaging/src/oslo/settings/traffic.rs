//! The settings for sending messages of RPC and notifications.

use crate::compress::{Compression, DECOMPRESSED_TOTAL};

/// The defaults of clients, servers, drivers and listeners, each of which can override them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Traffic {
    /// How many messages of a queue are sent before they are acknowledged; 0 means no limit.
    pub(crate) prefetch: Option<u16>,
    pub(crate) compression: Option<Compression>,
    /// The bytes that the messages of one server or listener, or the replies to all calls, may take
    /// together after decompression.
    pub(crate) decompressed: u64,
}

impl Default for Traffic {
    fn default() -> Self {
        Traffic { prefetch: None, compression: None, decompressed: DECOMPRESSED_TOTAL }
    }
}
