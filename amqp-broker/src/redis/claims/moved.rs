//! A claimed message on its way elsewhere.

use crate::redis::places::Place;

/// A claimed message that goes elsewhere, and is claimed no more.
#[derive(Clone, Debug)]
pub(crate) struct Move {
    /// The tag of its claim.
    pub(crate) tag: String,
    /// Its claim as it must be for the move; `None` when its tag alone tells.
    pub(crate) claim: Option<Vec<u8>>,
    /// The places it goes to, and how it gets to each; with none, it is dropped.
    pub(crate) places: Vec<Place>,
    /// The bytes that are put there.
    pub(crate) raw: Vec<u8>,
}

impl Move {
    /// Drops the message.
    pub(crate) fn drop(tag: String) -> Self {
        Move { tag, claim: None, places: Vec::new(), raw: Vec::new() }
    }
}
