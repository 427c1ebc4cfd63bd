//! Messages that are kept unacknowledged because they cannot be moved where they belong: how many
//! there are, and when the consumer should be replaced, so that they do not block others.

use futures_util::FutureExt as _;
use tokio::sync::Notify;

use crate::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The most messages for which a consumer is replaced, by default; further ones stay where they are
/// and block others.
pub(crate) const MOST: usize = 1024;
/// The most bytes of such messages.
const MOST_BYTES: usize = 64 * 1024 * 1024;

/// The messages that a service keeps unacknowledged.
#[derive(Debug)]
pub(crate) struct Held {
    /// The most messages for which a consumer is replaced.
    most: usize,
    messages: AtomicUsize,
    bytes: AtomicUsize,
    /// How many messages were kept since the consumer began; they count towards its prefetch.
    of_consumer: AtomicUsize,
    is_crowded: Notify,
}

impl Held {
    pub(crate) fn new(most: usize) -> Self {
        let (messages, bytes, of_consumer, is_crowded) = Default::default();
        Held { most, messages, bytes, of_consumer, is_crowded }
    }

    /// Counts a message of `bytes` bytes. If it `is_new`, it belongs to the current consumer, whose
    /// prefetch is given. A message that is kept again is counted as well: it may be the first one
    /// to fit, since others are gone.
    pub(crate) fn one_more(&self, bytes: usize, is_new: bool, prefetch: usize) {
        let messages = self.messages.fetch_add(1, Relaxed) + 1;
        let bytes = self.bytes.fetch_add(bytes, Relaxed) + bytes;
        let of_consumer = self.of_consumer.fetch_add(is_new.into(), Relaxed) + usize::from(is_new);
        if of_consumer >= (prefetch / 2).max(1) && messages <= self.most && bytes <= MOST_BYTES {
            self.is_crowded.notify_one();
        }
    }

    /// Returns how many messages are kept now.
    pub(crate) fn count(&self) -> usize {
        self.messages.load(Relaxed)
    }

    /// Counts one message less.
    pub(crate) fn one_less(&self, bytes: usize) {
        self.messages.fetch_sub(1, Relaxed);
        self.bytes.fetch_sub(bytes, Relaxed);
    }

    /// Completes when kept messages take up much of the consumer's prefetch. The consumer should
    /// then be replaced: the messages do not count towards the new consumer's prefetch.
    ///
    /// # Cancel safety
    /// It can be dropped, and called again.
    pub(crate) async fn crowded(&self) {
        self.is_crowded.notified().await;
    }

    /// Notes that another consumer has taken over.
    pub(crate) fn begun_anew(&self) {
        self.of_consumer.store(0, Relaxed);
        // A notice about the previous consumer does not concern this one.
        let _ = self.is_crowded.notified().now_or_never();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_consumer_is_crowded_when_half_of_its_prefetch_is_held() {
        let held = Held::new(MOST);
        held.one_more(10, true, 4);
        assert!(held.crowded().now_or_never().is_none());
        held.one_more(10, true, 4);
        assert!(held.crowded().now_or_never().is_some());
        held.begun_anew();
        held.one_less(10);
        held.one_more(10, false, 1);
        held.one_more(10, true, 4);
        assert!(held.crowded().now_or_never().is_none());
        held.one_more(10, true, 1);
        assert!(held.crowded().now_or_never().is_some());
    }

    #[test]
    fn too_many_or_too_large_ones_are_held_in_the_way() {
        let held = Held::new(MOST);
        held.one_more(MOST_BYTES + 1, true, 1);
        assert!(held.crowded().now_or_never().is_none());
        held.one_less(MOST_BYTES + 1);
        // One of the two is removed, and the other is still kept.
        held.one_more(MOST_BYTES, true, 1);
        held.one_more(1, true, 1);
        while held.crowded().now_or_never().is_some() {}
        held.one_less(MOST_BYTES);
        held.one_less(1);
        held.one_more(1, false, 1);
        assert!(held.crowded().now_or_never().is_some());
        held.one_less(1);
        held.begun_anew();
        for _ in 0..MOST {
            held.one_more(0, true, 1);
        }
        assert!(held.crowded().now_or_never().is_some());
        held.one_more(0, true, 1);
        assert!(held.crowded().now_or_never().is_none());
    }

    #[test]
    fn who_has_begun_anew_is_not_crowded_by_what_was_held_before() {
        let held = Held::new(MOST);
        held.one_more(10, true, 1);
        held.begun_anew();
        assert!(held.crowded().now_or_never().is_none());
        held.one_more(10, false, 1);
        assert!(held.crowded().now_or_never().is_none());
    }
}
