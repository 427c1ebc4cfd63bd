//! Heartbeats in both directions (spec section 4.2.7).

use std::time::{Duration, Instant};

/// The two timers of a connection's heartbeats. They are off when the agreed interval is zero.
#[derive(Debug)]
pub(crate) struct Heartbeat {
    interval: Duration,
    last_read: Instant,
    last_written: Instant,
    /// Set while this side does not read, so that silence proves nothing.
    paused: bool,
}

/// The action that is due.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Due {
    Nothing,
    /// Nothing was written for half an interval: a heartbeat is to be sent.
    Send,
    /// Nothing was read for two intervals: the peer counts as dead.
    Dead,
}

impl Heartbeat {
    pub(crate) fn new(interval: Duration, now: Instant) -> Self {
        Heartbeat { interval, last_read: now, last_written: now, paused: false }
    }

    /// Stops sending and expecting heartbeats.
    pub(crate) fn stop(&mut self) {
        self.interval = Duration::ZERO;
    }

    pub(crate) fn read(&mut self, now: Instant) {
        self.last_read = now;
    }

    pub(crate) fn written(&mut self, now: Instant) {
        self.last_written = now;
    }

    pub(crate) fn pause(&mut self, paused: bool, now: Instant) {
        if self.paused && !paused {
            self.last_read = now;
        }
        self.paused = paused;
    }

    /// Returns how long silence may last.
    pub(crate) fn patience(&self) -> Duration {
        self.interval * 2
    }

    pub(crate) fn due(&self, now: Instant) -> Due {
        if self.interval.is_zero() {
            return Due::Nothing;
        }
        if !self.paused && now >= self.last_read + self.patience() {
            return Due::Dead;
        }
        if now >= self.last_written + self.interval / 2 { Due::Send } else { Due::Nothing }
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        if self.interval.is_zero() {
            return None;
        }
        let send = self.last_written + self.interval / 2;
        Some(if self.paused { send } else { send.min(self.last_read + self.patience()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_an_interval_of_quiet_sends_and_two_of_silence_end() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let mut heartbeat = Heartbeat::new(10 * second, start);
        assert_eq!(heartbeat.deadline(), Some(start + 5 * second));
        assert_eq!(heartbeat.due(start + 5 * second), Due::Send);
        heartbeat.written(start + 5 * second);
        assert_eq!(heartbeat.due(start + 6 * second), Due::Nothing);
        heartbeat.written(start + 19 * second);
        assert_eq!(heartbeat.due(start + 20 * second), Due::Dead);
        heartbeat.read(start + 19 * second);
        assert_eq!(heartbeat.due(start + 20 * second), Due::Nothing);
    }

    #[test]
    fn an_interval_of_one_second_does_not_become_zero_and_zero_is_off() {
        let start = Instant::now();
        let one = Heartbeat::new(Duration::from_secs(1), start);
        assert_eq!(one.deadline(), Some(start + Duration::from_millis(500)));
        let off = Heartbeat::new(Duration::ZERO, start);
        assert_eq!((off.deadline(), off.due(start + Duration::from_secs(9999))), (None, Due::Nothing));
    }

    #[test]
    fn silence_while_reading_is_paused_is_no_sign_of_death() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let mut heartbeat = Heartbeat::new(10 * second, start);
        heartbeat.pause(true, start);
        assert_eq!(heartbeat.due(start + 60 * second), Due::Send);
        heartbeat.pause(false, start + 60 * second);
        heartbeat.written(start + 60 * second);
        assert_eq!(heartbeat.due(start + 61 * second), Due::Nothing);
        assert_eq!(heartbeat.due(start + 80 * second), Due::Dead);
    }
}
