//! Messages that are kept unsettled because they cannot be put where they belong: how many a service has, and when its consumer should
//! begin anew, so that they do not stand in the way of others.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use futures_util::FutureExt as _;
use tokio::sync::Notify;

/// More are held where they are, in the way of others.
const MOST: usize = 1024;
/// Bytes of them, likewise.
const MOST_BYTES: usize = 64 * 1024 * 1024;

/// The messages that a service holds.
#[derive(Debug, Default)]
pub(crate) struct Held {
    messages: AtomicUsize,
    bytes: AtomicUsize,
    /// Since the consumer began: these count towards its prefetch.
    of_consumer: AtomicUsize,
    is_crowded: Notify,
}

impl Held {
    /// One more, of so many bytes; when it `is_new`, it is of the present consumer, which may have so many unsettled. One that is held
    /// again may be the first since others have gone that were too many.
    pub(crate) fn one_more(&self, bytes: usize, is_new: bool, prefetch: usize) {
        let messages = self.messages.fetch_add(1, Relaxed) + 1;
        let bytes = self.bytes.fetch_add(bytes, Relaxed) + bytes;
        let of_consumer = self.of_consumer.fetch_add(is_new.into(), Relaxed) + usize::from(is_new);
        if of_consumer >= (prefetch / 2).max(1) && messages <= MOST && bytes <= MOST_BYTES {
            self.is_crowded.notify_one();
        }
    }

    /// One less.
    pub(crate) fn one_less(&self, bytes: usize) {
        self.messages.fetch_sub(1, Relaxed);
        self.bytes.fetch_sub(bytes, Relaxed);
    }

    /// Ready when much of what the consumer may have unsettled is held, so that another one should take its place: its messages do
    /// not count towards the prefetch of that.
    ///
    /// # Cancel safety
    /// It can be dropped, and called again.
    pub(crate) async fn crowded(&self) {
        self.is_crowded.notified().await;
    }

    /// Another consumer has taken the place.
    pub(crate) fn begun_anew(&self) {
        self.of_consumer.store(0, Relaxed);
        // What was said of the one before means nothing for this one.
        let _ = self.is_crowded.notified().now_or_never();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_consumer_is_crowded_when_half_of_its_prefetch_is_held() {
        let held = Held::default();
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
        let held = Held::default();
        held.one_more(MOST_BYTES + 1, true, 1);
        assert!(held.crowded().now_or_never().is_none());
        held.one_less(MOST_BYTES + 1);
        // One of them has gone, and the other is still held.
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
        let held = Held::default();
        held.one_more(10, true, 1);
        held.begun_anew();
        assert!(held.crowded().now_or_never().is_none());
        held.one_more(10, false, 1);
        assert!(held.crowded().now_or_never().is_none());
    }
}
