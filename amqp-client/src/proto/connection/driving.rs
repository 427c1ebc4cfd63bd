//! What the driver asks: what to write, whether to read, when to come again.

use std::{task::Waker, time::Instant};

use amqp_codec::frame::HEARTBEAT;
use bytes::BufMut as _;

use super::{Engine, Phase};
use crate::{
    error::Error,
    event::Event,
    proto::ground::{heartbeat::Due, output::Output},
};

impl Engine {
    /// Acts on what has become due.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.link.gathering.handle_timeout(now);
        if self.windows_open_at.is_some_and(|at| now >= at) {
            self.open_windows();
        }
        match &self.phase {
            Phase::Closing { until, reason } if now >= *until => {
                let reason = reason.clone();
                self.end(&reason);
            }
            Phase::Open | Phase::Restoring | Phase::Closing { .. } => match self.heartbeat.due(now) {
                Due::Dead => self.end(&Error::HeartbeatMissed { silent: self.heartbeat.patience() }),
                Due::Send => {
                    self.heartbeat.written(now);
                    self.link.output.buffer().put_slice(&HEARTBEAT);
                    self.link.metrics.frames_sent += 1;
                }
                Due::Nothing => {}
            },
            Phase::Down(_) | Phase::Handshake(_) | Phase::Ended(_) => {}
        }
        self.warn_of_held_deliveries(now);
    }

    /// Tells those who wait for room in a window of what there is.
    fn open_windows(&mut self) {
        self.windows_open_at = None;
        for (_, channel) in self.channels.iter_mut().flatten() {
            channel.wake_if_room(&mut self.link);
        }
    }

    /// Looked at with every sign of life: brokers close channels whose deliveries are held for too
    /// long.
    fn warn_of_held_deliveries(&mut self, now: Instant) {
        for (index, slot) in self.channels.iter_mut().enumerate() {
            if let Some((_, channel)) = slot
                && let Some(held) = channel.held_too_long(now, self.warn_unacked_after)
            {
                self.link.events.push(Event::DeliveryHeld { channel: index as u16, held });
            }
        }
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) at the latest.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let closing = match self.phase {
            Phase::Closing { until, .. } => Some(until),
            _ => None,
        };
        [self.heartbeat.deadline(), closing, self.link.gathering.until(), self.windows_open_at]
            .into_iter()
            .flatten()
            .min()
    }

    /// Swaps the outgoing bytes out for an empty buffer. `false` when there are none.
    pub(crate) fn take_output(&mut self, now: Instant, batch: &mut Output) -> bool {
        self.flush_acks(now);
        if self.link.output.is_empty() {
            return false;
        }
        self.heartbeat.written(now);
        self.link.metrics.bytes_sent += self.link.output.len() as u64;
        std::mem::swap(&mut self.link.output, batch);
        self.room_waiters.wake_all(&mut self.link.wakes);
        true
    }

    /// The driver goes to sleep; it is woken when there is something to do. `is_writing` when the
    /// transport took less than was offered, so that there is nothing to do before it takes more.
    pub(crate) fn sleep(&mut self, waker: &Waker, is_writing: bool) {
        self.driver = Some(waker.clone());
        self.driver_is_writing = is_writing;
    }

    /// Gives back what a quiet connection does not need.
    pub(crate) fn release(&mut self) {
        self.link.output.release();
        for (_, channel) in self.channels.iter_mut().flatten() {
            channel.release(&mut self.link.wakes);
        }
    }

    /// Whom to wake of the driver, if it sleeps and has something to do.
    #[inline]
    pub(crate) fn rouse(&mut self) -> Option<Waker> {
        let output =
            (self.link.gathering.is_due() || !self.link.output.is_empty()) && !self.driver_is_writing;
        // What was waited for may have been taken after the driver looked, and before it slept.
        let may_read = self.is_reading_paused && !self.link.backlog.is_full();
        if output || may_read || self.is_down() { self.driver.take() } else { None }
    }

    /// Tells whether to read no more for now: `true` while more waits for consumers than may. What
    /// comes during a handshake or after a close is none of theirs; and while the connection is
    /// restored, what fills them may be of the lost one, and answers are waited for.
    pub(crate) fn is_reading_paused(&mut self, now: Instant) -> bool {
        let paused = self.is_open() && self.link.backlog.is_full();
        self.heartbeat.pause(paused, now);
        self.is_reading_paused = paused;
        paused
    }

    /// Tells whether nothing is read, so that no answer can come.
    pub(crate) fn has_paused_reading(&self) -> bool {
        self.is_reading_paused
    }
}
