//! How much memory messages may take before publishers are held back.

/// How often memory is looked at again while it is low, in milliseconds, though nothing happens.
pub(crate) const LOOK_AGAIN: u64 = 20;

/// The most that may come before memory is looked at.
const LOOK_AFTER_AT_MOST: u64 = 16 << 20;

/// How much memory messages may take. What they take is summed up over all queues, so it is looked at the more often the
/// nearer it may be to the limit.
#[derive(Debug)]
pub(crate) struct Watermark {
    limit: u64,
    /// How much may come before memory is looked at.
    look_after: u64,
    looked_at: u64,
    is_low: bool,
}

impl Watermark {
    pub(crate) fn new(limit: u64) -> Self {
        Watermark { limit, look_after: 0, looked_at: 0, is_low: false }
    }

    pub(crate) fn limit(&self) -> u64 {
        self.limit
    }

    /// Whether memory is to be looked at, after so much has come.
    #[inline]
    pub(crate) fn is_due(&self, now: u64, grown: u64) -> bool {
        if self.is_low { now >= self.looked_at + LOOK_AGAIN } else { grown > self.look_after }
    }

    /// When memory is to be looked at though nothing happens.
    pub(crate) fn next_look(&self) -> u64 {
        if self.is_low { self.looked_at + LOOK_AGAIN } else { u64::MAX }
    }

    /// Notes that messages take so much; tells whether that is too much.
    pub(crate) fn look(&mut self, now: u64, held: u64) -> bool {
        self.looked_at = now;
        self.is_low = held > self.limit;
        self.look_after = (self.limit.saturating_sub(held) / 2).min(LOOK_AFTER_AT_MOST);
        self.is_low
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_looked_at_the_sooner_the_nearer_it_is() {
        let mut watermark = Watermark::new(1000);
        assert!(watermark.is_due(0, 1));
        assert!(!watermark.look(0, 500));
        assert!(!watermark.is_due(0, 250) && watermark.is_due(0, 251));
        assert!(!watermark.look(0, 1000));
        assert!(watermark.is_due(0, 1));
        assert!(watermark.look(5, 1001));
        assert!(!watermark.is_due(5 + LOOK_AGAIN - 1, 0) && watermark.is_due(5 + LOOK_AGAIN, 0));
        assert_eq!(watermark.next_look(), 5 + LOOK_AGAIN);
    }
}
