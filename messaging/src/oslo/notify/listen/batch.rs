//! Handling many notifications at once.

use std::{collections::BTreeMap, fmt, panic::AssertUnwindSafe, sync::Arc};

use futures_util::future::{BoxFuture, FutureExt as _};

use crate::oslo::notify::{
    level::Level,
    listen::{event::Event, filter::Filter},
};

/// What to do with the notifications of a batch after a handler has seen them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BatchResult {
    /// All are handled, and acknowledged.
    Handled,
    /// None could be handled:
    /// [`BatchListener::on_failure`](crate::notify::BatchListener::on_failure) says what happens to
    /// them.
    Requeue,
    /// The notifications at these positions, from 0, could not be handled, and the others are
    /// handled. Positions outside of the batch are ignored.
    RequeueOnly(Vec<usize>),
}

type Handler = Arc<dyn Fn(Vec<Event>) -> BoxFuture<'static, BatchResult> + Send + Sync>;

/// Handlers for batches of some levels, with a filter. All notifications of a batch have the same
/// level.
#[derive(Clone, Default)]
pub struct BatchEndpoint {
    filter: Filter,
    handlers: BTreeMap<Level, Handler>,
}

impl BatchEndpoint {
    /// Returns an endpoint without handlers.
    #[must_use]
    pub fn new() -> Self {
        BatchEndpoint::default()
    }

    /// Sets which notifications it wants; default all. The others are acknowledged, unless another
    /// endpoint wants them.
    #[must_use]
    pub fn filter(mut self, filter: Filter) -> Self {
        self.filter = filter;
        self
    }

    /// Sets the handler for the notifications of a level.
    #[must_use]
    pub fn on<F, Fut>(self, level: Level, handler: F) -> Self
    where
        F: Fn(Vec<Event>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = BatchResult> + Send + 'static,
    {
        self.on_each(&[level], handler)
    }

    /// Sets the handler for the notifications of some levels, each in batches of its own.
    #[must_use]
    pub fn on_each<F, Fut>(mut self, levels: &[Level], handler: F) -> Self
    where
        F: Fn(Vec<Event>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = BatchResult> + Send + 'static,
    {
        let handler: Handler = Arc::new(move |events| handler(events).boxed());
        self.handlers.extend(levels.iter().map(|level| (*level, handler.clone())));
        self
    }

    pub(super) fn levels(&self) -> impl Iterator<Item = Level> {
        self.handlers.keys().copied()
    }

    /// Passes those notifications of a level that the endpoint wants to its handler. Returns for
    /// each why it could not be handled, if it could not.
    pub(super) async fn handle(&self, level: Level, events: &[&Event]) -> Vec<Option<&'static str>> {
        let Some(handler) = self.handlers.get(&level) else { return vec![None; events.len()] };
        let wanted: Vec<_> = events.iter().map(|event| self.filter.fits(event)).collect();
        let chosen: Vec<_> = events
            .iter()
            .zip(&wanted)
            .filter(|(_, wanted)| **wanted)
            .map(|(event, _)| (*event).clone())
            .collect();
        if chosen.is_empty() {
            return vec![None; events.len()];
        }
        let handling = AssertUnwindSafe(async { handler(chosen).await });
        let (result, failure) = match handling.catch_unwind().await {
            Ok(result) => (result, "its handler requested a requeue"),
            Err(_) => {
                tracing::error!(%level, "the handler of a batch of notifications panicked; what happens to each follows");
                (BatchResult::Requeue, "its handler panicked")
            }
        };
        let mut place = 0;
        let failures = wanted.into_iter().map(|wanted| {
            let has_failed = wanted
                && match &result {
                    BatchResult::Handled => false,
                    BatchResult::Requeue => true,
                    BatchResult::RequeueOnly(places) => places.contains(&place),
                };
            place += usize::from(wanted);
            has_failed.then_some(failure)
        });
        failures.collect()
    }
}

impl fmt::Debug for BatchEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchEndpoint")
            .field("levels", &self.handlers.keys())
            .field("filter", &self.filter)
            .finish_non_exhaustive()
    }
}
