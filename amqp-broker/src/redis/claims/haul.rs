//! What is wanted of queues, and what is taken.

/// The most messages that one claim takes from a source.
pub(crate) const MOST_MESSAGES: usize = 1000;

/// A queue that messages are taken from.
#[derive(Debug)]
pub(crate) struct Wanted {
    /// Its lists, the first to be emptied first.
    pub(crate) lists: Vec<String>,
    /// How many are wanted, at most [`MOST_MESSAGES`].
    pub(crate) most: usize,
    /// Whether they are to be settled.
    pub(crate) claimed: bool,
    /// What follows the message in its claim.
    pub(crate) tail: Vec<u8>,
    /// The milliseconds that its lists live from now on; `None` leaves them as they are.
    pub(crate) lifetime: Option<u64>,
}

/// A message that was taken.
#[derive(Debug)]
pub(crate) struct Taken {
    /// The index of its [`Wanted`].
    pub(crate) source: usize,
    /// The number of its claim.
    pub(crate) number: Option<u64>,
    /// The envelope.
    pub(crate) raw: Vec<u8>,
}

/// What was taken at once.
#[derive(Debug, Default)]
pub(crate) struct Haul {
    pub(crate) taken: Vec<Taken>,
    /// Whether there may be more: the bytes were the limit.
    pub(crate) full: bool,
}
