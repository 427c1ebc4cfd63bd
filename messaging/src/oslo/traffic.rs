//! How the messages of RPC and notifications travel.

use crate::compress::{Compression, DECOMPRESSED_TOTAL};

/// What clients, servers, drivers and listeners begin with; each can say otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Traffic {
    /// How many messages of a queue come ahead of their acknowledgement; 0 is without limit.
    pub(crate) prefetch: Option<u16>,
    pub(crate) compression: Option<Compression>,
    /// What the messages that one server or listener works on may have together, decompressed, in
    /// bytes.
    pub(crate) decompressed: u64,
}

impl Default for Traffic {
    fn default() -> Self {
        Traffic { prefetch: None, compression: None, decompressed: DECOMPRESSED_TOTAL }
    }
}
