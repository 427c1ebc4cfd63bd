//! The measure of how long a connection has left its waiting callers without an answer.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::sync::Mutex;

/// How long a caller waits for an answer of a connection that can be replaced.
pub(crate) const PATIENCE: Duration = Duration::from_secs(2);
/// The shortest wait of a caller that comes after others have waited without an answer.
const LEAST_PATIENCE: Duration = Duration::from_millis(250);
/// The age up to which a wait counts against the connection.
const LATELY: Duration = Duration::from_secs(20);

/// The silence of one connection.
#[derive(Clone, Default)]
pub(crate) struct Silence(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// How many callers wait now.
    waiting: usize,
    /// How long a caller has waited without an answer, and when that was last counted.
    waited: Duration,
    counted: Option<Instant>,
}

/// A waiting caller.
///
/// # On drop
/// The caller no longer waits. Unless it was [answered](Waiting::answered), it counts as having
/// waited without an answer.
pub(crate) struct Waiting {
    silence: Silence,
    until: Instant,
}

impl Silence {
    pub(crate) fn wait(&self) -> Waiting {
        let now = Instant::now();
        let mut state = self.0.lock();
        state.count(now);
        state.waiting += 1;
        let left = PATIENCE.saturating_sub(state.waited).max(LEAST_PATIENCE);
        Waiting { silence: self.clone(), until: now + left }
    }
}

impl State {
    fn count(&mut self, now: Instant) {
        let since = self.counted.replace(now).map_or(Duration::ZERO, |counted| now - counted);
        if self.waiting > 0 {
            self.waited += since;
        } else if since >= LATELY {
            self.waited = Duration::ZERO;
        }
    }
}

impl Waiting {
    /// Returns the time until which it waits.
    pub(crate) fn until(&self) -> Instant {
        self.until
    }

    /// Notes that the connection answered, or that the reason why it does not is known.
    pub(crate) fn answered(self) {
        let mut state = self.silence.0.lock();
        state.count(Instant::now());
        state.waited = Duration::ZERO;
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut state = self.silence.0.lock();
        state.count(Instant::now());
        state.waiting -= 1;
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    /// Returns how long a caller waits that begins now.
    fn patience(silence: &Silence) -> Duration {
        silence.wait().until() - Instant::now()
    }

    #[tokio::test(start_paused = true)]
    async fn all_who_wait_and_give_up_have_one_patience_together() {
        let silence = Silence::default();
        for left in [2000, 1500, 1000, 500, 250, 250] {
            let waiting = silence.wait();
            assert_eq!((waiting.until() - Instant::now()).as_millis(), left);
            advance(Duration::from_millis(500)).await;
        }
        silence.wait().answered();
        assert_eq!(patience(&silence), PATIENCE);
    }

    #[tokio::test(start_paused = true)]
    async fn what_nobody_waited_for_does_not_count() {
        let silence = Silence::default();
        let (one, other) = (silence.wait(), silence.wait());
        advance(Duration::from_millis(10)).await;
        drop((one, other));
        advance(LATELY / 2).await;
        assert_eq!(patience(&silence), PATIENCE - Duration::from_millis(10));
        advance(LATELY).await;
        assert_eq!(patience(&silence), PATIENCE);
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_still_wait_count_from_the_answer() {
        let silence = Silence::default();
        let (one, _other) = (silence.wait(), silence.wait());
        advance(PATIENCE / 2).await;
        one.answered();
        advance(PATIENCE / 4).await;
        assert_eq!(patience(&silence), PATIENCE / 4 * 3);
    }
}
