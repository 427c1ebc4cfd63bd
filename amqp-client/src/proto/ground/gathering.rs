//! The acks of all channels that have not been sent: those of a busy consumer wait for company.

use std::time::{Duration, Instant};

/// How long acks may wait for company while a consumer is busy.
const ACK_DELAY: Duration = Duration::from_millis(1);

#[derive(Debug, Default)]
pub(crate) struct Gathering {
    /// Channels with acks waiting.
    channels: Vec<u16>,
    waiting: usize,
    /// Some of them must not wait: the broker may be out of work to send.
    is_urgent: bool,
    /// While set, an ack does not wake the driver: it leaves with the batch at this time.
    until: Option<Instant>,
}

impl Gathering {
    /// One more ack waits, `is_first` of those of its channel.
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

    /// Whether acks wait that are to be sent now.
    #[inline]
    pub(crate) fn is_due(&self) -> bool {
        self.waiting > 0 && (self.is_urgent || self.until.is_none())
    }

    /// When those that wait are to be sent at the latest.
    pub(crate) fn until(&self) -> Option<Instant> {
        self.until
    }

    /// Time has passed.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if self.until.is_some_and(|until| now >= until) {
            self.until = None;
        }
    }

    /// Has each channel with acks send them; those that come within the next moment gather.
    pub(crate) fn flush(&mut self, now: Instant, send: impl FnMut(u16)) {
        self.waiting = 0;
        self.is_urgent = false;
        self.channels.drain(..).for_each(send);
        self.until = Some(now + ACK_DELAY);
    }

    /// The channels that had some are lost.
    pub(crate) fn forget(&mut self) {
        self.channels.clear();
        self.waiting = 0;
        self.is_urgent = false;
    }

    /// There is nothing to send them over.
    pub(crate) fn stop(&mut self) {
        self.until = None;
    }
}
