//! Work that is done once for all callers that wait for it, and continues when some of them give
//! up.
//!
//! Otherwise, a caller that waits only for the time of one attempt would never see the end of work
//! that takes longer.

use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use crate::connection::setup_error::SetupError;
use crate::sync::Mutex;

/// The work that makes a connection, a channel or a declaration, if it is in progress.
///
/// # On drop
/// The work is aborted, and callers that wait for it get [`SetupError::Closed`].
pub(crate) struct Setup<T>(Mutex<Option<UnderWay<T>>>);

struct UnderWay<T> {
    outcome: Outcome<T>,
    _task: AbortOnDropHandle<()>,
}

/// The outcome of the work; `None` until it is known.
type Outcome<T> = watch::Receiver<Option<Result<T, SetupError>>>;

impl<T> Default for Setup<T> {
    fn default() -> Self {
        Setup(Mutex::default())
    }
}

impl<T: Clone + Send + Sync + 'static> Setup<T> {
    /// Returns what `ready` finds; otherwise waits for the work in progress, or begins `work`. The
    /// work stores its result where `ready` looks for it.
    ///
    /// # Cancel safety
    /// The work continues after this future is dropped.
    pub(crate) async fn wait<W>(
        &self,
        ready: impl FnOnce() -> Option<T>,
        begin: impl FnOnce() -> W,
    ) -> Result<T, SetupError>
    where
        W: Future<Output = Result<T, SetupError>> + Send + 'static,
    {
        let mut outcome = {
            let mut present = self.0.lock();
            // Work that was in progress may have ended since the caller looked.
            if let Some(ready) = ready() {
                return Ok(ready);
            }
            match present.as_ref().filter(|present| present.outcome.borrow().is_none()) {
                Some(present) => present.outcome.clone(),
                None => present.insert(UnderWay::begin(begin())).outcome.clone(),
            }
        };
        let known = outcome.wait_for(Option::is_some).await;
        known.ok().and_then(|known| known.clone()).unwrap_or(Err(SetupError::Closed))
    }
}

impl<T: Send + Sync + 'static> UnderWay<T> {
    fn begin(work: impl Future<Output = Result<T, SetupError>> + Send + 'static) -> Self {
        let (sender, outcome) = watch::channel(None);
        let task = tokio::spawn(async move {
            sender.send_replace(Some(work.await));
        });
        UnderWay { outcome, _task: AbortOnDropHandle::new(task) }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use futures_util::future::join_all;
    use tokio::time::{sleep, timeout};

    use super::*;

    /// Returns work that takes three seconds.
    fn work(
        place: &Arc<Mutex<Option<u32>>>,
        number: u32,
    ) -> impl Future<Output = Result<u32, SetupError>> + use<> {
        let place = place.clone();
        async move {
            sleep(Duration::from_secs(3)).await;
            *place.lock() = Some(number);
            Ok(number)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_takes_longer_than_anybody_waits_is_done_once() {
        let (place, setup) = (Arc::<Mutex<Option<u32>>>::default(), Setup::default());
        for number in 0..2 {
            let waiting = setup.wait(|| *place.lock(), || work(&place, number));
            assert!(timeout(Duration::from_secs(1), waiting).await.is_err());
        }
        let all = (10..20).map(|number| setup.wait(|| *place.lock(), move || async move { Ok(number) }));
        let all: Vec<_> = join_all(all).await.into_iter().map(Result::unwrap).collect();
        assert_eq!(all, [0; 10]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_ended_while_nobody_waited_is_nobodys_outcome() {
        let setup = Setup::default();
        let fails = || async {
            sleep(Duration::from_secs(1)).await;
            Err(SetupError::Closed)
        };
        assert!(timeout(Duration::from_millis(1), setup.wait(|| None, fails)).await.is_err());
        sleep(Duration::from_secs(2)).await;
        assert_eq!(setup.wait(|| None, || async { Ok(1) }).await.ok(), Some(1));
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_together_is_told_the_same_error() {
        let setup = Setup::<u32>::default();
        let fails = || async { Err(SetupError::Closed) };
        let all = join_all((0..3).map(|_| setup.wait(|| None, fails))).await;
        assert!(all.iter().all(|outcome| matches!(outcome, Err(SetupError::Closed))));
    }

    #[tokio::test(start_paused = true)]
    async fn work_ends_with_who_keeps_it() {
        let (place, setup) = (Arc::<Mutex<Option<u32>>>::default(), Setup::default());
        let waiting = setup.wait(|| None, || work(&place, 1));
        assert!(timeout(Duration::from_secs(1), waiting).await.is_err());
        drop(setup);
        sleep(Duration::from_secs(10)).await;
        assert_eq!(Arc::strong_count(&place), 1);
    }
}
