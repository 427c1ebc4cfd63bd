//! The driver's questions: what to write, whether to read, when to come again.

use std::{task::Waker, time::Instant};

use amqp_codec::frame::HEARTBEAT;
use bytes::BufMut as _;

use super::{Engine, Phase};
use crate::{
    error::Error,
    event::Event,
    proto::ground::{heartbeat::Due, output::Output},
};

/// What the engine wants of its driver.
pub(crate) struct Wanted {
    /// Whether the connection has ended, so that only the last bytes are to be written.
    pub(crate) has_ended: bool,
    pub(crate) reading: bool,
    /// When [`handle_timeout`](Engine::handle_timeout) is to be called.
    pub(crate) deadline: Option<Instant>,
}

impl Engine {
    /// Acts on the timers that are due.
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

    /// Wakes the futures that wait for room in a window that has some.
    fn open_windows(&mut self) {
        self.windows_open_at = None;
        for (_, channel) in self.channels.iter_mut().flatten() {
            channel.wake_if_room(&mut self.link);
        }
    }

    /// Warns of deliveries that are held for long, because brokers close their channels. It is
    /// called with every timeout, and so at least with every heartbeat.
    fn warn_of_held_deliveries(&mut self, now: Instant) {
        for (index, slot) in self.channels.iter_mut().enumerate() {
            if let Some((_, channel)) = slot
                && let Some(held) = channel.held_too_long(now, self.warn_unacked_after)
            {
                self.link.events.push(Event::DeliveryHeld { channel: index as u16, held });
            }
        }
    }

    /// Returns when to call [`handle_timeout`](Self::handle_timeout) at the latest.
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

    /// Swaps the outgoing bytes for an empty buffer. Returns `false` if there are none.
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

    /// Returns what the engine wants of the driver once the output is taken.
    pub(crate) fn wanted(&mut self, now: Instant) -> Wanted {
        let has_ended = self.is_down();
        let reading = !has_ended && !self.is_reading_paused(now);
        Wanted { has_ended, reading, deadline: self.deadline() }
    }

    /// Notes that the driver sleeps until there is something to do. With `is_writing` the transport
    /// took less than was offered, so there is nothing to do before it takes more.
    pub(crate) fn sleep(&mut self, waker: &Waker, is_writing: bool) {
        self.driver = Some(waker.clone());
        self.driver_is_writing = is_writing;
    }

    /// Frees memory that an idle connection does not need.
    pub(crate) fn release(&mut self) {
        self.link.output.release();
        for (_, channel) in self.channels.iter_mut().flatten() {
            channel.release(&mut self.link.wakes);
        }
    }

    /// Returns the driver's waker, if the driver sleeps and has something to do.
    #[inline]
    pub(crate) fn rouse(&mut self) -> Option<Waker> {
        let output =
            (self.link.gathering.is_due() || !self.link.output.is_empty()) && !self.driver_is_writing;
        // The waiting deliveries may have been taken after the driver looked, and before it slept.
        let may_read = self.is_reading_paused && !self.link.backlog.is_full();
        if output || may_read || self.is_down() { self.driver.take() } else { None }
    }

    /// Tells whether reading has to pause, because too many deliveries wait for consumers. During a
    /// handshake or after a close, nothing that arrives is for them. During recovery, the waiting
    /// deliveries may be of the lost connection, and answers are needed.
    fn is_reading_paused(&mut self, now: Instant) -> bool {
        let paused = self.is_open() && self.link.backlog.is_full();
        self.heartbeat.pause(paused, now);
        self.is_reading_paused = paused;
        paused
    }

    /// Tells whether reading is paused, so that no answer can arrive.
    pub(crate) fn has_paused_reading(&self) -> bool {
        self.is_reading_paused
    }
}
