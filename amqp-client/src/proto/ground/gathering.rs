//! The acks of all channels that have not been sent. Those of a busy consumer wait, so that several
//! leave as one frame.

use std::time::{Duration, Instant};

/// How long acks may wait for others while a consumer is busy.
const ACK_DELAY: Duration = Duration::from_millis(1);

#[derive(Debug, Default)]
pub(crate) struct Gathering {
    /// The channels with waiting acks.
    channels: Vec<u16>,
    waiting: usize,
    /// Whether some of them must not wait, because the prefetch may soon stop the broker.
    is_urgent: bool,
    /// While set, an ack does not wake the driver: it leaves with the batch at this time.
    until: Option<Instant>,
}

impl Gathering {
    /// Adds a waiting ack; `is_first` tells whether it is the first one of its channel.
    #[inline]
    pub(crate) fn add(&mut self, channel: u16, is_first: bool, is_urgent: bool) {
        self.is_urgent |= is_urgent;
        self.waiting += 1;
        if is_first {
            self.channels.push(channel);
        }
    }

    #[inline]
    pub(crate) fn has_some(&self) -> bool {
        self.waiting > 0
    }

    /// Tells whether waiting acks have to be sent now.
    #[inline]
    pub(crate) fn is_due(&self) -> bool {
        self.waiting > 0 && (self.is_urgent || self.until.is_none())
    }

    /// Returns when the waiting acks have to be sent at the latest.
    pub(crate) fn until(&self) -> Option<Instant> {
        self.until
    }

    /// Ends the delay, if its time has passed.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if self.until.is_some_and(|until| now >= until) {
            self.until = None;
        }
    }

    /// Lets each channel with waiting acks send them; acks of the next moment gather.
    pub(crate) fn flush(&mut self, now: Instant, send: impl FnMut(u16)) {
        self.waiting = 0;
        self.is_urgent = false;
        self.channels.drain(..).for_each(send);
        self.until = Some(now + ACK_DELAY);
    }

    /// Forgets all waiting acks, because their channels are lost.
    pub(crate) fn forget(&mut self) {
        self.channels.clear();
        self.waiting = 0;
        self.is_urgent = false;
    }

    /// Ends the delay, because there is no transport.
    pub(crate) fn stop(&mut self) {
        self.until = None;
    }
}
