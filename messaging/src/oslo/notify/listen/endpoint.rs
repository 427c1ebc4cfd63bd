//! Endpoints, which handle notifications.

use std::{collections::BTreeMap, fmt, panic::AssertUnwindSafe, sync::Arc};

use futures_util::future::{BoxFuture, FutureExt as _};

use crate::oslo::notify::{
    level::Level,
    listen::{event::Event, filter::Filter},
};

/// What to do with a notification after a handler has seen it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotificationResult {
    /// The notification is handled.
    Handled,
    /// The notification could not be handled:
    /// [`Listener::on_failure`](crate::notify::Listener::on_failure) says what happens to it.
    Requeue,
}

type Handler = Arc<dyn Fn(Event) -> BoxFuture<'static, NotificationResult> + Send + Sync>;

/// Handlers for some levels, with a filter.
///
/// ```
/// use messaging::notify::{Endpoint, Event, Filter, Level, NotificationResult};
///
/// let errors = Endpoint::new()
///     .filter(Filter::new().event_type(r"compute\.")?)
///     .on_each(&[Level::Error, Level::Critical], |event: Event| async move {
///         println!("{}", event.event_type());
///         NotificationResult::Handled
///     });
/// # Ok::<(), messaging::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct Endpoint {
    filter: Filter,
    handlers: BTreeMap<Level, Handler>,
}

impl Endpoint {
    /// Returns an endpoint without handlers.
    #[must_use]
    pub fn new() -> Self {
        Endpoint::default()
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
        F: Fn(Event) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = NotificationResult> + Send + 'static,
    {
        self.on_each(&[level], handler)
    }

    /// Sets the handler for the notifications of some levels.
    #[must_use]
    pub fn on_each<F, Fut>(mut self, levels: &[Level], handler: F) -> Self
    where
        F: Fn(Event) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = NotificationResult> + Send + 'static,
    {
        let handler: Handler = Arc::new(move |event| handler(event).boxed());
        self.handlers.extend(levels.iter().map(|level| (*level, handler.clone())));
        self
    }

    pub(super) fn levels(&self) -> impl Iterator<Item = Level> {
        self.handlers.keys().copied()
    }

    /// Passes a notification to the handler, if the endpoint wants it. Returns why it could not be
    /// handled.
    pub(super) async fn handle(&self, event: &Event) -> Result<(), &'static str> {
        let Some(handler) = self.handlers.get(&event.level()).filter(|_| self.filter.fits(event)) else {
            return Ok(());
        };
        // The handler is called inside the block, so that a panic before its first await is caught
        // as well.
        match AssertUnwindSafe(async { handler(event.clone()).await }).catch_unwind().await {
            Ok(NotificationResult::Handled) => Ok(()),
            Ok(NotificationResult::Requeue) => Err("its handler requested a requeue"),
            Err(_) => {
                tracing::error!(?event, "the handler of a notification panicked; what happens to it follows");
                Err("its handler panicked")
            }
        }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("levels", &self.handlers.keys())
            .field("filter", &self.filter)
            .finish_non_exhaustive()
    }
}
