//! The ticket of a waiting transaction.

/// A place among those that wait: the lower, the earlier. One that has never waited has
/// [`Ticket::NONE`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticket(u64);

impl Ticket {
    pub(crate) const NONE: Ticket = Ticket(0);

    pub(crate) fn next(self) -> Ticket {
        Ticket(self.0 + 1)
    }
}
