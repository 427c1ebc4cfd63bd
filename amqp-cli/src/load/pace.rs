//! When messages are due at a rate.

use std::time::Duration;

use crate::{
    error::Error,
    load::{clock::Clock, timer::Timer},
};

/// The times at which messages are due. A message that is late does not delay the next ones: they
/// are due when they would have been.
#[derive(Debug)]
pub(crate) struct Pace {
    begin: u64,
    rate: u32,
    count: u64,
    timer: Timer,
    /// The time that the timer is set to.
    set_to: u64,
}

impl Pace {
    /// A pace that begins after a share of the first interval, so that several workers do not act
    /// at the same moments.
    ///
    /// # Errors
    /// As [`Timer::new`].
    pub(crate) fn new(rate: u32, clock: Clock, share: f64) -> Result<Self, Error> {
        let begin = clock.now() + (share * 1e9 / f64::from(rate)) as u64;
        Ok(Pace { begin, rate, count: 0, timer: Timer::new()?, set_to: 0 })
    }

    /// When the next message is due.
    pub(crate) fn due(&self) -> u64 {
        // In 128 bits, so that neither days nor high rates add up an error.
        let after = u128::from(self.count) * 1_000_000_000 / u128::from(self.rate);
        self.begin + after as u64
    }

    /// Goes on to the next message.
    pub(crate) fn advance(&mut self) {
        self.count += 1;
    }

    /// Begins anew with a message that is late, so that the next ones do not follow it faster than
    /// the rate allows.
    pub(crate) fn forgive(&mut self, now: u64) {
        if self.due() < now {
            (self.begin, self.count) = (now, 0);
        }
    }

    /// Waits until the next message is due; returns at once if it is late.
    ///
    /// # Errors
    /// As [`Timer::expired`].
    ///
    /// # Cancel safety
    /// If the future is dropped while pending, it can be called again.
    pub(crate) async fn wait(&mut self, clock: Clock) -> Result<(), Error> {
        let due = self.due();
        loop {
            let now = clock.now();
            if now >= due {
                return Ok(());
            }
            if self.set_to != due {
                self.timer.set(Duration::from_nanos(due - now))?;
                self.set_to = due;
            }
            self.timer.expired().await?;
            // The clocks may differ by a little.
            self.set_to = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn messages_are_due_at_the_rate_however_late_they_are() {
        let clock = Clock::new();
        let mut pace = Pace::new(3, clock, 0.0).unwrap();
        let begin = pace.due();
        let mut due = Vec::new();
        for _ in 0..4 {
            due.push(pace.due() - begin);
            pace.advance();
        }
        assert_eq!(due, [0, 333_333_333, 666_666_666, 1_000_000_000]);
        let mut fast = Pace::new(100_000, clock, 0.5).unwrap();
        fast.count = 100_000 * 365 * 24 * 3600;
        assert_eq!(fast.due() - fast.begin, 365 * 24 * 3600 * 1_000_000_000);
    }

    #[tokio::test]
    async fn after_a_late_message_it_is_no_faster() {
        let mut pace = Pace::new(10, Clock::new(), 0.0).unwrap();
        let late = pace.due() + 5_000_000_000;
        pace.forgive(late);
        pace.advance();
        assert_eq!(pace.due(), late + 100_000_000);
        pace.forgive(late);
        assert_eq!(pace.due(), late + 100_000_000);
    }

    #[tokio::test]
    async fn it_waits_until_a_message_is_due() {
        let clock = Clock::new();
        let mut pace = Pace::new(2000, clock, 1.0).unwrap();
        for _ in 0..20 {
            pace.wait(clock).await.unwrap();
            assert!(clock.now() >= pace.due());
            pace.advance();
        }
    }
}
