//! How the messages of RPC and notifications travel.

use crate::compress::Compression;

/// What clients, servers, drivers and listeners begin with; each can say otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Traffic {
    /// How many messages of a queue come ahead of their acknowledgement; 0 is without limit.
    pub(crate) prefetch: Option<u16>,
    pub(crate) compression: Option<Compression>,
}
