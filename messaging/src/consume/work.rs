//! Where messages are worked on: where they are received, for as long as that is quick, or in tasks of their own.

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

/// Work that goes on for longer than this without waiting for anything is not to hold up what comes after it.
const LONG: Duration = Duration::from_micros(100);
/// How many are begun between one that is timed and the next.
const SAMPLE: u32 = 16;
/// The same where work takes long.
const SAMPLE_LONG: u32 = 256;

/// Runs the work on messages, side by side.
///
/// Each is begun in place: what needs to wait for nothing is done then, without a task of its own. What has to wait goes on in a
/// task.
///
/// # On drop
/// All of it is aborted.
pub(crate) struct Workplace<T> {
    here: ReusableBoxFuture<'static, Contained<T>>,
    elsewhere: JoinSet<Contained<()>>,
    pace: Pace,
}

/// What work gave, or the payload of its panic.
type Contained<T> = Result<T, Box<dyn Any + Send>>;

impl<T: Send + 'static> Workplace<T> {
    pub(crate) fn new() -> Self {
        let here = ReusableBoxFuture::new(pending());
        Workplace { here, elsewhere: JoinSet::new(), pace: Pace::default() }
    }

    /// For quick work that has to begin in the order in which it comes: it begins here, however long some of it may take.
    #[cfg(any(test, feature = "oslo"))]
    pub(crate) fn in_order() -> Self {
        Workplace { pace: Pace { is_here_always: true, ..Pace::default() }, ..Workplace::new() }
    }

    /// Begins to work; what that gives when it is done at once. All else goes on by itself, and what it gives is dropped as soon as
    /// it is done. What `work` does before its future is there is part of it.
    pub(crate) fn begin<W, Fut>(&mut self, cx: &mut Context<'_>, work: W) -> Option<T>
    where
        W: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = T> + Send + 'static,
    {
        while let Some(done) = self.elsewhere.try_join_next() {
            done.ok().and_then(contained);
        }
        let timed = match self.pace.next() {
            Step::Elsewhere => {
                self.elsewhere.spawn(AssertUnwindSafe(async move { drop(work().await) }).catch_unwind());
                return None;
            }
            Step::Here => None,
            Step::HereTimed => Some(Instant::now()),
        };
        // What is behind a panic is dropped with it.
        let begun = match catch_unwind(AssertUnwindSafe(work)) {
            Ok(work) => {
                self.here.set(AssertUnwindSafe(work).catch_unwind());
                self.here.poll(cx)
            }
            Err(panic) => Poll::Ready(Err(panic)),
        };
        if let Some(begun) = timed {
            self.pace.took(begun.elapsed());
        }
        match begun {
            Poll::Ready(done) => contained(done),
            Poll::Pending => {
                let work = std::mem::replace(&mut self.here, ReusableBoxFuture::new(pending()));
                self.elsewhere.spawn(async move { work.await.map(drop) });
                None
            }
        }
    }

    /// Waits for everything that was begun.
    pub(crate) async fn finish(mut self) {
        while let Some(done) = self.elsewhere.join_next().await {
            done.ok().and_then(contained);
        }
    }
}

/// Handlers are caught where they are called: what panics here is not one of them.
fn contained<T>(done: Contained<T>) -> Option<T> {
    done.inspect_err(|_| tracing::error!("the work on a message panicked; it stays unsettled")).ok()
}

/// How long work takes before it waits for something or is done, by samples.
#[derive(Debug, Default)]
struct Pace {
    is_here_always: bool,
    is_long: bool,
    until_sample: u32,
}

#[derive(Debug, PartialEq, Eq)]
enum Step {
    Here,
    HereTimed,
    Elsewhere,
}

impl Pace {
    fn next(&mut self) -> Step {
        if self.is_here_always {
            return Step::Here;
        }
        if self.until_sample == 0 {
            self.until_sample = if self.is_long { SAMPLE_LONG } else { SAMPLE };
            return Step::HereTimed;
        }
        self.until_sample -= 1;
        if self.is_long { Step::Elsewhere } else { Step::Here }
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
        let (mut workplace, mut cx) = (Workplace::new(), Context::from_waker(Waker::noop()));
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
            assert_eq!(workplace.begin(&mut cx, || work), given);
        }
        assert_eq!(done.load(Ordering::SeqCst), 2);
        assert_eq!(workplace.elsewhere.len(), 2);
        gate.notify_one();
        gate.notify_one();
        workplace.finish().await;
        assert_eq!(done.load(Ordering::SeqCst), 4);
    }

    #[tokio::test]
    async fn what_work_elsewhere_gives_is_dropped_when_it_is_done_not_when_it_is_looked_for() {
        let (mut workplace, mut cx) = (Workplace::new(), Context::from_waker(Waker::noop()));
        let (given, mut kept) = (Arc::new(()), Vec::new());
        for is_long in [false, true] {
            workplace.pace = Pace { is_long, until_sample: 1, ..Pace::default() };
            let gate = Arc::new(Notify::new());
            kept.push(gate.clone());
            let given = given.clone();
            let work = async move || {
                gate.notified().await;
                given
            };
            assert!(workplace.begin(&mut cx, work).is_none());
        }
        kept.iter().for_each(|gate| gate.notify_one());
        while Arc::strong_count(&given) > 1 {
            tokio::task::yield_now().await;
        }
        assert_eq!(workplace.elsewhere.len(), 2);
    }

    #[tokio::test]
    async fn in_order_even_long_work_begins_before_the_next_does() {
        let (mut workplace, mut cx) = (Workplace::in_order(), Context::from_waker(Waker::noop()));
        let begun = Arc::new(AtomicU32::new(0));
        for number in 0..2 * SAMPLE {
            let counted = begun.clone();
            let work = move || {
                // Long by the clock, if clocks were asked.
                let since = Instant::now();
                while number == 0 && since.elapsed() <= LONG {}
                let before = counted.fetch_add(1, Ordering::SeqCst);
                async move {
                    tokio::task::yield_now().await;
                    before
                }
            };
            assert!(workplace.begin(&mut cx, work).is_none());
            assert_eq!(begun.load(Ordering::SeqCst), number + 1);
        }
        workplace.finish().await;
    }

    #[tokio::test]
    async fn a_panic_ends_nothing_else() {
        let (mut workplace, mut cx) = (Workplace::<()>::new(), Context::from_waker(Waker::noop()));
        for waits in [false, true] {
            let work = async move {
                if waits {
                    tokio::task::yield_now().await;
                }
                panic!("on purpose");
            };
            assert!(workplace.begin(&mut cx, || work).is_none());
        }
        let at_once = || -> std::future::Ready<()> { panic!("on purpose") };
        assert!(workplace.begin(&mut cx, at_once).is_none());
        workplace.finish().await;
    }

    #[test]
    fn work_that_takes_long_is_moved_away_until_a_sample_is_quick_again() {
        let mut pace = Pace::default();
        assert_eq!(pace.next(), Step::HereTimed);
        pace.took(LONG * 2);
        for _ in 0..SAMPLE_LONG {
            assert_eq!(pace.next(), Step::Elsewhere);
        }
        assert_eq!(pace.next(), Step::HereTimed);
        pace.took(Duration::ZERO);
        for _ in 0..SAMPLE {
            assert_eq!(pace.next(), Step::Here);
        }
        assert_eq!(pace.next(), Step::HereTimed);
    }
}
