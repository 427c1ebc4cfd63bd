//! The tags of publishes here and on the wire: the broker counts from 1 on each connection, while
//! tags here continue.

#[derive(Debug, Default)]
pub(crate) struct WireTags {
    /// The publishes repeated on this connection, which have the tags 1, 2, 3 and so on there.
    republished: Vec<u64>,
    /// How many of them a `multiple` has settled.
    settled: usize,
    /// The last tag before this connection.
    before: u64,
}

impl WireTags {
    /// Begins a connection; `before` is the last tag before it.
    pub(crate) fn after(before: u64) -> Self {
        WireTags { republished: Vec::new(), settled: 0, before }
    }

    /// Notes that an earlier publish was repeated.
    pub(crate) fn republish(&mut self, tag: u64) {
        self.republished.push(tag);
    }

    /// Returns how many publishes were repeated.
    pub(crate) fn republished(&self) -> usize {
        self.republished.len()
    }

    /// Returns the last tag before this connection.
    pub(crate) fn before(&self) -> u64 {
        self.before
    }

    /// Returns the tag here for a tag on the wire; an unused number when there is none.
    pub(crate) fn tag(&self, wire: u64) -> u64 {
        let republished = self.republished.len() as u64;
        if wire > republished {
            return self.before.saturating_add(wire - republished);
        }
        let index = wire.checked_sub(1).and_then(|index| usize::try_from(index).ok());
        index.and_then(|index| self.republished.get(index)).copied().unwrap_or(0)
    }

    /// Returns the repeated publishes that a `multiple` up to this wire tag settles.
    pub(crate) fn republished_up_to(&mut self, wire: u64) -> Vec<u64> {
        let until = usize::try_from(wire).unwrap_or(usize::MAX).min(self.republished.len());
        let from = self.settled.min(until);
        self.settled = until.max(self.settled);
        self.republished.get(from..until).unwrap_or_default().to_vec()
    }
}
