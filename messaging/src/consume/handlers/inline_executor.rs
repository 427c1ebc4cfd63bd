//! Runs handlers: in place, where their messages are received, as long as they are quick, and
//! otherwise in tasks of their own.

use std::{
    any::Any,
    future::pending,
    panic::{AssertUnwindSafe, catch_unwind},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use futures_util::FutureExt as _;
use tokio::task::JoinSet;
use tokio_util::sync::ReusableBoxFuture;

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
pub(crate) struct InlineExecutor<T> {
    inline: ReusableBoxFuture<'static, Contained<T>>,
    spawned: JoinSet<Contained<()>>,
    timing: HandlerTiming,
}

/// The output of a handler, or the payload of its panic.
type Contained<T> = Result<T, Box<dyn Any + Send>>;

impl<T: Send + 'static> InlineExecutor<T> {
    pub(crate) fn new() -> Self {
        let inline = ReusableBoxFuture::new(pending());
        InlineExecutor { inline, spawned: JoinSet::new(), timing: HandlerTiming::default() }
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
    pub(crate) fn begin<W, Fut>(&mut self, cx: &mut Context<'_>, work: W) -> Option<T>
    where
        W: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = T> + Send + 'static,
    {
        while let Some(done) = self.spawned.try_join_next() {
            done.ok().and_then(contained);
        }
        let timed = match self.timing.next() {
            Step::Spawned => {
                self.spawned.spawn(AssertUnwindSafe(async move { drop(work().await) }).catch_unwind());
                return None;
            }
            Step::Inline => None,
            Step::InlineTimed => Some(Instant::now()),
        };
        // The output of a handler that panics is dropped with the panic.
        let begun = match catch_unwind(AssertUnwindSafe(work)) {
            Ok(work) => {
                self.inline.set(AssertUnwindSafe(work).catch_unwind());
                self.inline.poll(cx)
            }
            Err(panic) => Poll::Ready(Err(panic)),
        };
        if let Some(begun) = timed {
            self.timing.took(begun.elapsed());
        }
        match begun {
            Poll::Ready(done) => contained(done),
            Poll::Pending => {
                let work = std::mem::replace(&mut self.inline, ReusableBoxFuture::new(pending()));
                self.spawned.spawn(async move { work.await.map(drop) });
                None
            }
        }
    }

    /// Waits for everything that was begun.
    pub(crate) async fn finish(mut self) {
        while let Some(done) = self.spawned.join_next().await {
            done.ok().and_then(contained);
        }
    }
}

/// Handlers are caught where they are called: what panics here is not one of them.
fn contained<T>(done: Contained<T>) -> Option<T> {
    done.inspect_err(|_| tracing::error!("handling a message panicked; the message stays unsettled")).ok()
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
    use std::{
        sync::{
            Arc,
            atomic::{AtomicU32, Ordering},
        },
        task::Waker,
    };

    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn what_need_not_wait_is_done_at_once_and_the_rest_goes_on_elsewhere() {
        let (mut executor, mut cx) = (InlineExecutor::new(), Context::from_waker(Waker::noop()));
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
            assert_eq!(executor.begin(&mut cx, || work), given);
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
        let (mut executor, mut cx) = (InlineExecutor::new(), Context::from_waker(Waker::noop()));
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
            assert!(executor.begin(&mut cx, work).is_none());
        }
        kept.iter().for_each(|gate| gate.notify_one());
        while Arc::strong_count(&given) > 1 {
            tokio::task::yield_now().await;
        }
        assert_eq!(executor.spawned.len(), 2);
    }

    #[tokio::test]
    async fn in_order_even_long_work_begins_before_the_next_does() {
        let (mut executor, mut cx) = (InlineExecutor::in_order(), Context::from_waker(Waker::noop()));
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
            assert!(executor.begin(&mut cx, work).is_none());
            assert_eq!(begun.load(Ordering::SeqCst), number + 1);
        }
        executor.finish().await;
    }

    #[tokio::test]
    async fn a_panic_ends_nothing_else() {
        let (mut executor, mut cx) = (InlineExecutor::<()>::new(), Context::from_waker(Waker::noop()));
        for waits in [false, true] {
            let work = async move {
                if waits {
                    tokio::task::yield_now().await;
                }
                panic!("on purpose");
            };
            assert!(executor.begin(&mut cx, || work).is_none());
        }
        let at_once = || -> std::future::Ready<()> { panic!("on purpose") };
        assert!(executor.begin(&mut cx, at_once).is_none());
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
