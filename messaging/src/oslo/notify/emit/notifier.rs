//! The notifier: emitting notifications.

use std::{fmt, sync::Arc, time::Duration};

use futures_util::future::join_all;
use serde::Serialize;
use tokio::time::timeout;

use crate::{
    error::Error,
    oslo::{
        error::notify::NotifyError,
        notify::{driver::Driver, drivers::is_secret, level::Level, notification::Notification},
        wire::context::Context,
    },
    retry::RetryPolicy,
};

/// Emits notifications under one publisher's name.
/// [`Transport::notifier`](crate::Transport::notifier) makes it, and [`new`](Self::new) one for
/// any drivers. Cloning is cheap.
///
/// ```
/// use messaging::{Context, Transport, notify};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), messaging::Error> {
/// let transport = Transport::connect("memory://notify-example").await?;
/// let notifier = transport.notifier("compute.host1", "notifications");
/// notifier.info(&Context::new(), "instance.create.end", &serde_json::json!({"id": 12})).await?;
///
/// let (sender, mut events) = tokio::sync::mpsc::unbounded_channel();
/// let listener = transport.listener("notifications")
///     .on(notify::Level::Info, move |event: notify::Event| {
///         let _ = sender.send(event.event_type().to_owned());
///         async { notify::NotificationResult::Handled }
///     })
///     .start()
///     .await?;
/// assert_eq!(events.recv().await.as_deref(), Some("instance.create.end"));
/// listener.stop().await;
/// transport.close().await
/// # }
/// ```
#[derive(Clone)]
pub struct Notifier {
    publisher_id: Arc<str>,
    drivers: Vec<Arc<dyn Driver>>,
    retry: RetryPolicy,
    redacted: bool,
}

impl Notifier {
    /// Returns a notifier for a publisher, without drivers; [`driver`](Self::driver) adds them.
    #[must_use]
    pub fn new(publisher_id: &str) -> Self {
        Notifier {
            publisher_id: publisher_id.into(),
            drivers: Vec::new(),
            retry: RetryPolicy::default(),
            redacted: true,
        }
    }

    /// Adds a driver: each notification goes to all of them, in their order.
    /// [`drivers::by_name`](crate::notify::drivers::by_name) finds drivers by the names of a
    /// configuration.
    #[must_use]
    pub fn driver(mut self, driver: impl Driver) -> Self {
        self.drivers.push(Arc::new(driver));
        self
    }

    /// Sets when to retry, and the deadline; default as [`RetryPolicy`]'s: for 30 seconds.
    #[must_use]
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = policy;
        self
    }

    /// Sets whether secrets in a context, such as `auth_token`, are sent as null; default true.
    /// Listeners should learn what happened without getting the right to do it.
    #[must_use]
    pub fn redacted(mut self, redacted: bool) -> Self {
        self.redacted = redacted;
        self
    }

    /// Returns a notifier under another publisher's name. Drivers, with their channels and buffers,
    /// are shared.
    #[must_use]
    pub fn prepare(&self, publisher_id: &str) -> Self {
        Notifier { publisher_id: publisher_id.into(), ..self.clone() }
    }

    /// Whether anything is emitted anywhere: false without drivers, and with
    /// [`Noop`](crate::notify::drivers::Noop) alone.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.drivers.iter().any(Driver::emits)
    }

    /// Emits a notification at a level. Returns when every driver has emitted it or taken
    /// responsibility for it: [`Messaging`] when the broker has it, a
    /// [`Buffer`](crate::notify::Buffer) when the buffer has it.
    ///
    /// [`Messaging`]: crate::notify::drivers::Messaging
    ///
    /// # Errors
    /// [`Error::Encode`] when the payload has no JSON form, and then nothing is emitted. Otherwise
    /// the error of the first driver that failed, after the others have emitted it. The error of
    /// [`Messaging`] is an [`Error::Undelivered`], for the first topic that fails.
    ///
    /// # Cancel safety
    /// When the future is dropped the notification may or may not be emitted.
    pub async fn notify<P: Serialize + ?Sized>(
        &self,
        level: Level,
        context: &Context,
        event_type: &str,
        payload: &P,
    ) -> Result<(), Error> {
        if !self.is_enabled() {
            return Ok(());
        }
        let context = if self.redacted { redacted(context) } else { context.clone() };
        let notification = Notification::new(level, &self.publisher_id, event_type, payload, context)?;
        let mut emitted = Ok(());
        for driver in &self.drivers {
            let result = driver.notify(&notification, self.retry).await;
            emitted = emitted.and(result);
        }
        emitted
    }

    /// Waits until the drivers have emitted all notifications that they have taken, such as those
    /// in a [`Buffer`](crate::notify::Buffer).
    ///
    /// # Errors
    /// [`NotifyError::Unflushed`] at the deadline.
    ///
    /// # Cancel safety
    /// Nothing is lost; the drivers go on.
    pub async fn flush(&self, deadline: Duration) -> Result<(), Error> {
        let flushing = join_all(self.drivers.iter().map(Driver::flush));
        match timeout(deadline, flushing).await {
            Ok(flushed) => flushed.into_iter().collect(),
            Err(_) => {
                let left = self.drivers.iter().map(Driver::pending).sum();
                Err(NotifyError::Unflushed { left }.into())
            }
        }
    }

    /// Waits as [`flush`](Self::flush) does, and then closes the drivers, for all clones:
    /// notifications left in a buffer on disk stay there, those left in one in memory are lost.
    ///
    /// # Errors
    /// [`NotifyError::Unflushed`], once all are closed.
    pub async fn close(self, deadline: Duration) -> Result<(), Error> {
        let flushed = self.flush(deadline).await;
        let closed: Result<(), Error> =
            join_all(self.drivers.iter().map(Driver::close)).await.into_iter().collect();
        flushed.and(closed)
    }
}

fn redacted(context: &Context) -> Context {
    let entries = context.iter().map(|(name, value)| {
        let value = if is_secret(name) { serde_json::Value::Null } else { value.clone() };
        (name.to_owned(), value)
    });
    entries.collect::<serde_json::Map<_, _>>().into()
}

macro_rules! levels {
    ($($method:ident = $level:ident;)*) => {
        impl Notifier {$(
            /// Emits a notification at this level.
            ///
            /// # Errors
            /// As [`notify`](Self::notify).
            ///
            /// # Cancel safety
            /// As [`notify`](Self::notify).
            pub async fn $method<P: Serialize + ?Sized>(
                &self,
                context: &Context,
                event_type: &str,
                payload: &P,
            ) -> Result<(), Error> {
                self.notify(Level::$level, context, event_type, payload).await
            }
        )*}
    };
}

levels! {
    audit = Audit;
    debug = Debug;
    info = Info;
    warn = Warn;
    error = Error;
    critical = Critical;
    sample = Sample;
}

impl fmt::Debug for Notifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let drivers: Vec<_> = self.drivers.iter().map(Driver::name).collect();
        f.debug_struct("Notifier")
            .field("publisher_id", &self.publisher_id)
            .field("drivers", &drivers)
            .finish_non_exhaustive()
    }
}
