//! Where messages are worked on: where they are received, for as long as that is quick, or in tasks of their own.

use std::{
    any::Any,
    future::{poll_fn, ready},
    panic::AssertUnwindSafe,
    task::Poll,
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
pub(crate) struct Workplace {
    here: ReusableBoxFuture<'static, Contained>,
    elsewhere: JoinSet<Contained>,
    pace: Pace,
}

/// Work done, or the payload of its panic.
type Contained = Result<(), Box<dyn Any + Send>>;

impl Workplace {
    pub(crate) fn new() -> Self {
        let here = ReusableBoxFuture::new(ready(Ok(())));
        Workplace { here, elsewhere: JoinSet::new(), pace: Pace::default() }
    }

    /// Begins to work; ready as soon as that goes on by itself.
    pub(crate) async fn begin(&mut self, work: impl Future<Output = ()> + Send + 'static) {
        while let Some(done) = self.elsewhere.try_join_next() {
            report(&done.unwrap_or(Ok(())));
        }
        // What is behind a panic is dropped with it.
        let work = AssertUnwindSafe(work).catch_unwind();
        let timed = match self.pace.next() {
            Step::Elsewhere => {
                self.elsewhere.spawn(work);
                return;
            }
            Step::Here => None,
            Step::HereTimed => Some(Instant::now()),
        };
        self.here.set(work);
        let begun = poll_fn(|cx| Poll::Ready(self.here.poll(cx))).await;
        if let Some(begun) = timed {
            self.pace.took(begun.elapsed());
        }
        match begun {
            Poll::Ready(done) => report(&done),
            Poll::Pending => {
                let work = std::mem::replace(&mut self.here, ReusableBoxFuture::new(ready(Ok(()))));
                self.elsewhere.spawn(work);
            }
        }
    }

    /// Waits for everything that was begun.
    pub(crate) async fn finish(mut self) {
        while let Some(done) = self.elsewhere.join_next().await {
            report(&done.unwrap_or(Ok(())));
        }
    }
}

/// Handlers are caught where they are called: this is not one of them.
fn report(done: &Contained) {
    if done.is_err() {
        tracing::error!("the work on a message panicked; it stays unsettled");
    }
}

/// How long work takes before it waits for something or is done, by samples.
#[derive(Debug, Default)]
struct Pace {
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
    use std::sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    };

    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn what_need_not_wait_is_done_at_once_and_the_rest_goes_on_elsewhere() {
        let mut workplace = Workplace::new();
        let (done, gate) = (Arc::new(AtomicU32::new(0)), Arc::new(Notify::new()));
        let work = |waits: bool| {
            let (done, gate) = (done.clone(), gate.clone());
            async move {
                if waits {
                    gate.notified().await;
                }
                done.fetch_add(1, Ordering::SeqCst);
            }
        };
        for waits in [false, true, false, true] {
            workplace.begin(work(waits)).await;
        }
        assert_eq!(done.load(Ordering::SeqCst), 2);
        assert_eq!(workplace.elsewhere.len(), 2);
        gate.notify_one();
        gate.notify_one();
        workplace.finish().await;
        assert_eq!(done.load(Ordering::SeqCst), 4);
    }

    #[tokio::test]
    async fn a_panic_ends_nothing_else() {
        let mut workplace = Workplace::new();
        for waits in [false, true] {
            workplace
                .begin(async move {
                    if waits {
                        tokio::task::yield_now().await;
                    }
                    panic!("on purpose");
                })
                .await;
        }
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
