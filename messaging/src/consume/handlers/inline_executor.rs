//! Runs handlers: in place, where their messages are received, as long as they are quick, and
//! otherwise in tasks of their own.

use std::{
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use futures_util::future::OptionFuture;
use tokio::task::{JoinError, JoinSet};

/// The longest time that a handler should run in place without awaiting anything, because it holds
/// up the messages behind its own.
const LONG: Duration = Duration::from_micros(100);
/// The number of handlers from one that is timed to the next.
const SAMPLE: u32 = 16;
/// The number that is used instead while handlers take long.
const SAMPLE_LONG: u32 = 256;

/// Runs handlers concurrently.
///
/// Each begins in place: one that awaits nothing ends there and needs no task of its own. One that
/// has to wait continues in a task.
///
/// # On drop
/// All handlers are aborted.
pub(crate) struct InlineExecutor<Fut> {
    /// Where handlers begin. It is allocated anew only for the handler after one that has to wait.
    place: Pin<Box<OptionFuture<Fut>>>,
    spawned: JoinSet<()>,
    timing: HandlerTiming,
}

impl<Fut> InlineExecutor<Fut>
where
    Fut: Future<Output: Send> + Send + 'static,
{
    pub(crate) fn new() -> Self {
        let (spawned, timing) = Default::default();
        InlineExecutor { place: Box::pin(None.into()), spawned, timing }
    }

    /// Returns an executor for quick handlers that have to begin in the order of their messages:
    /// each begins in place, however long some of them may take.
    #[cfg(any(test, feature = "oslo"))]
    pub(crate) fn in_order() -> Self {
        InlineExecutor {
            timing: HandlerTiming { is_always_inline: true, ..HandlerTiming::default() },
            ..InlineExecutor::new()
        }
    }

    /// Begins a handler; returns its output when it ends at once. Otherwise it continues by itself,
    /// and its output is dropped as soon as it ends. What `work` does before it returns its future
    /// counts as part of the handler.
    ///
    /// # Cancel safety
    /// It never waits.
    pub(crate) async fn begin<W>(&mut self, work: W) -> Option<Fut::Output>
    where
        W: FnOnce() -> Fut + Send + 'static,
    {
        while let Some(ended) = self.spawned.try_join_next() {
            look_at(ended);
        }
        let step = self.timing.next();
        if step == Step::Spawned {
            self.spawned.spawn(async move { drop(work().await) });
            return None;
        }
        let timed = (step == Step::InlineTimed).then(Instant::now);
        let begun = catch_unwind(AssertUnwindSafe(|| self.place.set(Some(work()).into())));
        let begun = match begun {
            Ok(()) => poll_fn(|cx| Poll::Ready(self.poll_in_place(cx))).await,
            Err(_) => panicked(),
        };
        if let Some(begun) = timed {
            self.timing.took(begun.elapsed());
        }
        match begun {
            Poll::Ready(done) => done,
            Poll::Pending => {
                let work = std::mem::replace(&mut self.place, Box::pin(None.into()));
                self.spawned.spawn(async move { drop(work.await) });
                None
            }
        }
    }

    /// Polls the handler that has been put in place.
    fn poll_in_place(&mut self, cx: &mut Context<'_>) -> Poll<Option<Fut::Output>> {
        let place = self.place.as_mut();
        catch_unwind(AssertUnwindSafe(|| place.poll(cx))).unwrap_or_else(|_| panicked())
    }

    /// Waits for everything that was begun.
    pub(crate) async fn finish(mut self) {
        while let Some(ended) = self.spawned.join_next().await {
            look_at(ended);
        }
    }
}

/// Logs that a task panicked.
fn look_at(ended: Result<(), JoinError>) {
    if ended.is_err_and(|error| error.is_panic()) {
        log_panic();
    }
}

/// Logs a panic, and returns that the work has ended without an output.
fn panicked<T>() -> Poll<Option<T>> {
    log_panic();
    Poll::Ready(None)
}

/// Logs a panic of the code around a handler: handlers themselves are caught where they are called.
fn log_panic() {
    tracing::error!("handling a message panicked; the message stays unsettled");
}

/// The time that handlers run before they await something or end, measured by samples.
#[derive(Debug, Default)]
struct HandlerTiming {
    is_always_inline: bool,
    is_long: bool,
    until_sample: u32,
}

#[derive(Debug, PartialEq, Eq)]
enum Step {
    Inline,
    InlineTimed,
    Spawned,
}

impl HandlerTiming {
    fn next(&mut self) -> Step {
        if self.is_always_inline {
            return Step::Inline;
        }
        if self.until_sample == 0 {
            self.until_sample = if self.is_long { SAMPLE_LONG } else { SAMPLE };
            return Step::InlineTimed;
        }
        self.until_sample -= 1;
        if self.is_long { Step::Spawned } else { Step::Inline }
    }

    fn took(&mut self, time: Duration) {
        self.is_long = time > LONG;
        self.until_sample = if self.is_long { SAMPLE_LONG } else { SAMPLE };
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    };

    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn what_need_not_wait_is_done_at_once_and_the_rest_goes_on_elsewhere() {
        let mut executor = InlineExecutor::new();
        let (done, gate) = (Arc::new(AtomicU32::new(0)), Arc::new(Notify::new()));
        let work = |waits: bool| {
            let (done, gate) = (done.clone(), gate.clone());
            async move {
                if waits {
                    gate.notified().await;
                }
                done.fetch_add(1, Ordering::SeqCst)
            }
        };
        for (waits, given) in [(false, Some(0)), (true, None), (false, Some(1)), (true, None)] {
            let work = work(waits);
            assert_eq!(executor.begin(|| work).await, given);
        }
        assert_eq!(done.load(Ordering::SeqCst), 2);
        assert_eq!(executor.spawned.len(), 2);
        gate.notify_one();
        gate.notify_one();
        executor.finish().await;
        assert_eq!(done.load(Ordering::SeqCst), 4);
    }

    #[tokio::test]
    async fn what_work_elsewhere_gives_is_dropped_when_it_is_done_not_when_it_is_looked_for() {
        let mut executor = InlineExecutor::new();
        let (given, mut kept) = (Arc::new(()), Vec::new());
        for is_long in [false, true] {
            executor.timing = HandlerTiming { is_long, until_sample: 1, ..HandlerTiming::default() };
            let gate = Arc::new(Notify::new());
            kept.push(gate.clone());
            let given = given.clone();
            let work = async move || {
                gate.notified().await;
                given
            };
            assert!(executor.begin(work).await.is_none());
        }
        kept.iter().for_each(|gate| gate.notify_one());
        while Arc::strong_count(&given) > 1 {
            tokio::task::yield_now().await;
        }
        assert_eq!(executor.spawned.len(), 2);
    }

    #[tokio::test]
    async fn in_order_even_long_work_begins_before_the_next_does() {
        let mut executor = InlineExecutor::in_order();
        let begun = Arc::new(AtomicU32::new(0));
        for number in 0..2 * SAMPLE {
            let counted = begun.clone();
            let work = move || {
                // The first handler would count as long if it were timed.
                let since = Instant::now();
                while number == 0 && since.elapsed() <= LONG {}
                let before = counted.fetch_add(1, Ordering::SeqCst);
                async move {
                    tokio::task::yield_now().await;
                    before
                }
            };
            assert!(executor.begin(work).await.is_none());
            assert_eq!(begun.load(Ordering::SeqCst), number + 1);
        }
        executor.finish().await;
    }

    #[tokio::test]
    async fn a_panic_ends_nothing_else() {
        let mut executor = InlineExecutor::in_order();
        let work = |begins: bool, waits: bool, ends: bool| {
            move || {
                assert!(begins, "on purpose");
                async move {
                    if waits {
                        tokio::task::yield_now().await;
                    }
                    assert!(ends, "on purpose");
                }
            }
        };
        for (begins, waits) in [(false, false), (true, false), (true, true)] {
            assert!(executor.begin(work(begins, waits, false)).await.is_none());
        }
        assert!(executor.begin(work(true, false, true)).await.is_some());
        executor.finish().await;
    }

    #[test]
    fn work_that_takes_long_is_moved_away_until_a_sample_is_quick_again() {
        let mut timing = HandlerTiming::default();
        assert_eq!(timing.next(), Step::InlineTimed);
        timing.took(LONG * 2);
        for _ in 0..SAMPLE_LONG {
            assert_eq!(timing.next(), Step::Spawned);
        }
        assert_eq!(timing.next(), Step::InlineTimed);
        timing.took(Duration::ZERO);
        for _ in 0..SAMPLE {
            assert_eq!(timing.next(), Step::Inline);
        }
        assert_eq!(timing.next(), Step::InlineTimed);
    }
}
