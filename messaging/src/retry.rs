//! Policies for retrying: for how long, and with which pauses.

use std::time::Duration;

#[cfg(feature = "oslo")]
use amqp_client::Report;
use tokio::time::{Instant, sleep};

#[cfg(feature = "oslo")]
use crate::error::Error;

/// The least time before the deadline that is left for the last attempt.
const LEAST_REMAINDER: Duration = Duration::from_millis(10);

/// The least upper bound of a pause, because timers count milliseconds.
const LEAST_PAUSE: Duration = Duration::from_millis(1);

/// The default time for one attempt, if there may be more of them.
const ATTEMPT: Duration = Duration::from_secs(10);

/// When to retry, and when to give up.
///
/// The wait before attempt n+1 is a random time between zero and `first * 2^(n-1)`, at most `cap`.
/// This is full jitter, so that a thousand clients of a restarted broker do not come back at the
/// same time. Default: first 100 ms, cap 10 s, deadline 30 s, any number of attempts of [10 s
/// each](Self::attempt_timeout).
///
/// ```
/// use std::time::Duration;
/// use messaging::RetryPolicy;
///
/// let patient = RetryPolicy::exponential(Duration::from_millis(50), Duration::from_secs(5))
///     .deadline(Duration::from_secs(300))
///     .attempts(20);
/// # let _ = patient;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    first: Duration,
    cap: Duration,
    deadline: Duration,
    attempts: Option<u32>,
    attempt: Option<Duration>,
}

impl RetryPolicy {
    /// Returns a policy with waits of up to `first`, doubled for each attempt until they are up to
    /// `cap`.
    #[must_use]
    pub const fn exponential(first: Duration, cap: Duration) -> Self {
        RetryPolicy { first, cap, deadline: Duration::from_secs(30), attempts: None, attempt: None }
    }

    /// Returns a policy of exactly one attempt.
    #[must_use]
    pub const fn never() -> Self {
        RetryPolicy::exponential(Duration::ZERO, Duration::ZERO).attempts(1)
    }

    /// Sets the time for everything: connecting, all attempts and the waits between them.
    #[must_use]
    pub const fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Sets the time for one attempt. It applies once to setting up a connection, a channel and
    /// what the message requires, and once more to sending and the broker's answer. Default 10 s,
    /// or all the time there is if only one attempt is allowed. A setup that takes longer
    /// continues, and the next attempt uses it.
    ///
    /// An attempt that is not over by then is given up and repeated on another channel, so that a
    /// lost answer, or a late one as from a quorum queue without a majority, holds up nothing else.
    /// The broker may then have the message more than once. An attempt whose time runs out while
    /// the broker blocks publishers goes on.
    #[must_use]
    pub const fn attempt_timeout(mut self, time: Duration) -> Self {
        self.attempt = Some(time);
        self
    }

    /// Sets the most attempts, including the first; 0 is taken for 1. An attempt that ends because
    /// the broker refuses another message on the same channel does not count, and is repeated at
    /// once. If only 1 is allowed it is not repeated, so that the message is never published twice.
    #[must_use]
    pub const fn attempts(mut self, attempts: u32) -> Self {
        self.attempts = Some(if attempts == 0 { 1 } else { attempts });
        self
    }

    /// Returns the policy with a deadline that is no later than `time`.
    #[cfg(feature = "oslo")]
    pub(crate) fn within(mut self, time: Duration) -> Self {
        self.deadline = self.deadline.min(time);
        self
    }

    /// Returns how long one attempt may take.
    #[inline]
    fn attempt_time(&self) -> Duration {
        let is_only_one = self.attempts == Some(1);
        self.attempt.unwrap_or(if is_only_one { self.deadline } else { ATTEMPT })
    }

    /// Returns the time at which a first attempt ends that begins at `now`.
    #[inline]
    pub(crate) fn first_attempt_end(&self, now: Instant) -> Instant {
        now + self.attempt_time().min(self.deadline).min(FAR)
    }

    /// Returns a wait after this many attempts.
    #[cfg(feature = "oslo")]
    pub(crate) fn wait(&self, attempts: u32) -> Duration {
        self.longest_wait(attempts).mul_f64(fastrand::f64())
    }

    /// Returns the upper bound of the wait after this many attempts.
    fn longest_wait(&self, attempts: u32) -> Duration {
        let doublings = attempts.saturating_sub(1).min(31);
        self.first.saturating_mul(1 << doublings).min(self.cap)
    }
}

impl Default for RetryPolicy {
    fn default() -> Self {
        RetryPolicy::exponential(Duration::from_millis(100), Duration::from_secs(10))
    }
}

/// The longest deadline, 30 years: a later one could be past the end of the clock.
const FAR: Duration = Duration::from_secs(30 * 365 * 24 * 3600);

/// One operation under a [`RetryPolicy`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Retry {
    policy: RetryPolicy,
    started: Instant,
    attempts: u32,
    /// How many of the attempts do not count for the limit.
    excused: u32,
    /// The time at which the present attempt began.
    begun: Instant,
}

impl Retry {
    pub(crate) fn start(policy: RetryPolicy) -> Self {
        let now = Instant::now();
        Retry { policy, started: now, attempts: 0, excused: 0, begun: now }
    }

    /// Returns an operation whose first attempt begins at this time.
    pub(crate) fn first(policy: RetryPolicy, now: Instant) -> Self {
        Retry { policy, started: now, attempts: 1, excused: 0, begun: now }
    }

    /// Retries an operation until it succeeds, fails for good, or `within` has passed.
    #[cfg(feature = "oslo")]
    pub(crate) async fn until_permanent<T, F, Fut>(within: Duration, mut operation: F) -> Result<T, Error>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<T, Error>>,
    {
        let mut retry = Retry::start(RetryPolicy::default().deadline(within));
        loop {
            retry.begin();
            match operation().await {
                Err(error) if !error.is_permanent() && retry.pause().await => {
                    tracing::debug!(error = %Report(&error), attempts = retry.attempts(), "an operation failed; it is tried again");
                }
                result => return result,
            }
        }
    }

    /// Counts an attempt that begins now.
    pub(crate) fn begin(&mut self) {
        if self.attempts > 0 {
            self.begun = Instant::now();
        }
        self.attempts = self.attempts.saturating_add(1);
    }

    /// Restarts the time of the present attempt.
    pub(crate) fn renew(&mut self, now: Instant) {
        self.begun = now;
    }

    pub(crate) fn attempts(&self) -> u32 {
        self.attempts
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Returns the time at which the whole operation ends.
    pub(crate) fn deadline(&self) -> Instant {
        self.started + self.policy.deadline.min(FAR)
    }

    /// Returns the time at which the present attempt ends.
    pub(crate) fn attempt_deadline(&self) -> Instant {
        self.time_from(self.begun)
    }

    /// Returns the end of an attempt whose time begins at `now`.
    pub(crate) fn time_from(&self, now: Instant) -> Instant {
        (now + self.policy.attempt_time().min(FAR)).min(self.deadline())
    }

    /// Notes that the present attempt has ended because of another message, and does not count.
    /// Returns `false` when there is to be no other attempt, because only one is allowed or the
    /// time has run out.
    pub(crate) fn excuse(&mut self) -> bool {
        self.excused = self.excused.saturating_add(1);
        self.policy.attempts != Some(1) && self.remaining() >= LEAST_REMAINDER
    }

    fn remaining(&self) -> Duration {
        self.deadline().saturating_duration_since(Instant::now())
    }

    /// Waits for the next attempt. Returns `false` when there is to be none.
    pub(crate) async fn pause(&self) -> bool {
        if self.policy.attempts.is_some_and(|limit| self.attempts - self.excused >= limit) {
            return false;
        }
        let spare = self.remaining().saturating_sub(LEAST_REMAINDER);
        if spare < LEAST_PAUSE {
            return false;
        }
        let longest = self.policy.longest_wait(self.attempts).min(spare);
        sleep(longest.mul_f64(fastrand::f64())).await;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_cap_and_never_overflow() {
        let policy = RetryPolicy::exponential(Duration::from_millis(100), Duration::from_secs(1));
        let waits: Vec<_> = (1..=5).map(|attempts| policy.longest_wait(attempts).as_millis()).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1000]);
        assert_eq!(policy.longest_wait(u32::MAX), Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn attempts_end_at_their_limit() {
        let mut retry = Retry::start(RetryPolicy::default().attempts(3));
        let mut begun = 0;
        loop {
            retry.begin();
            begun += 1;
            if !retry.pause().await {
                break;
            }
        }
        assert_eq!((begun, retry.attempts()), (3, 3));
    }

    #[tokio::test(start_paused = true)]
    async fn attempts_end_by_the_deadline_and_go_on_until_shortly_before() {
        let deadline = Duration::from_secs(60);
        let mut retry = Retry::start(RetryPolicy::default().deadline(deadline));
        loop {
            retry.begin();
            if !retry.pause().await {
                break;
            }
        }
        assert!(retry.elapsed() <= deadline);
        assert!(deadline - retry.elapsed() <= LEAST_REMAINDER + LEAST_PAUSE);
        assert!(retry.attempts() > 8, "{}", retry.attempts());
    }

    #[tokio::test(start_paused = true)]
    async fn waits_differ_from_one_operation_to_another() {
        let mut elapsed = Vec::new();
        for _ in 0..8 {
            let mut retry = Retry::start(RetryPolicy::default());
            retry.begin();
            assert!(retry.pause().await);
            elapsed.push(retry.elapsed());
        }
        elapsed.sort_unstable();
        elapsed.dedup();
        assert!(elapsed.len() > 1);
    }

    #[test]
    fn an_attempt_has_its_own_time_within_the_deadline_and_the_only_one_has_all() {
        let ends_after = |policy: RetryPolicy| {
            let retry = Retry::start(policy);
            assert_eq!(policy.first_attempt_end(retry.started), retry.attempt_deadline());
            (retry.attempt_deadline() - retry.started).as_secs()
        };
        assert_eq!(ends_after(RetryPolicy::default()), 10);
        assert_eq!(ends_after(RetryPolicy::never()), 30);
        assert_eq!(ends_after(RetryPolicy::never().attempt_timeout(Duration::from_secs(5))), 5);
        assert_eq!(ends_after(RetryPolicy::default().deadline(Duration::from_secs(3))), 3);
        assert_eq!(ends_after(RetryPolicy::default().attempt_timeout(Duration::MAX)), 30);
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_of_an_attempt_begins_with_it() {
        let mut retry = Retry::start(RetryPolicy::default());
        retry.begin();
        sleep(Duration::from_secs(7)).await;
        assert_eq!(retry.attempt_deadline() - Instant::now(), Duration::from_secs(3));
        retry.begin();
        assert_eq!(retry.attempt_deadline() - Instant::now(), Duration::from_secs(10));
    }

    #[test]
    fn no_attempts_means_one_and_an_endless_deadline_is_allowed() {
        assert_eq!(RetryPolicy::default().attempts(0), RetryPolicy::default().attempts(1));
        assert!(Retry::start(RetryPolicy::default().deadline(Duration::MAX)).deadline() > Instant::now());
    }
}
