//! A buffer for notifications, for times when the broker is away.

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use amqp_client::Report;
use tokio::{sync::watch, task::JoinHandle};

use crate::oslo::error::notify::NotifyError;
use crate::oslo::notify::{
    driver::{Driver, Emitting},
    emit::{
        backlog::{Backlog, WhenFull},
        emitter::{Emitter, Keeping, Lost},
        spool::Spool,
    },
    notification::Notification,
};
use crate::{error::Error, retry::RetryPolicy, sync};

/// The settings of a bounded buffer, in memory or on disk, that is to be put before a driver.
///
/// Emitting waits for the buffer and not for the broker. A task emits the buffered notifications in
/// their order, and retries for as long as the broker is away. Notifications that were being
/// emitted when a connection was lost may arrive twice, and after later ones. A notification that
/// fails for a reason of its own, because its queue exists with other properties, refuses it or
/// does not answer, is retried with growing pauses while later ones are emitted. Only one for which
/// retrying is useless, such as one that is larger than the broker accepts, is given up, and passed
/// to [`on_lost`](Self::on_lost).
///
/// ```
/// use std::time::Duration;
/// use messaging::{Context, Transport, TransportOptions, notify::{Buffer, Notifier}};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), messaging::Error> {
/// let transport = TransportOptions::new().lazy("memory://buffer-example")?;
/// let buffered = Buffer::in_memory()
///     .notifications(1000)
///     .on_lost(|notification, why| eprintln!("{notification:?}: {why}"))
///     .before(transport.notification_driver("notifications"))
///     .await?;
/// let notifier = Notifier::new("compute.host1").driver(buffered);
/// // This does not wait for the broker.
/// notifier.info(&Context::new(), "instance.create.end", &12).await?;
/// notifier.close(Duration::from_secs(5)).await?;                     // does
/// # Ok(())
/// # }
/// ```
#[must_use = "a buffer does nothing until it is put before a driver with `before`"]
pub struct Buffer {
    folder: Option<PathBuf>,
    most: usize,
    most_bytes: usize,
    when_full: WhenFull,
    in_flight: usize,
    give_up: Option<Duration>,
    pauses: RetryPolicy,
    on_lost: Lost,
}

impl Buffer {
    /// Returns a buffer in memory: notifications that are not emitted when the process ends are
    /// lost.
    pub fn in_memory() -> Self {
        Buffer {
            folder: None,
            most: 10_000,
            most_bytes: 64 << 20,
            when_full: WhenFull::default(),
            in_flight: 256,
            give_up: None,
            pauses: RetryPolicy::default(),
            on_lost: Arc::new(|notification, error| {
                tracing::error!(?notification, error = %Report(error), "a notification is lost");
            }),
        }
    }

    /// Returns a buffer in a folder of its own, with a copy in memory. A notification is accepted
    /// when it is on disk, and survives the process. One that was emitted shortly before a crash
    /// may be emitted again.
    pub fn on_disk(folder: impl Into<PathBuf>) -> Self {
        Buffer { folder: Some(folder.into()), ..Buffer::in_memory() }
    }

    /// Sets how many notifications it holds; default 10,000.
    pub fn notifications(mut self, most: usize) -> Self {
        self.most = most;
        self
    }

    /// Sets how many bytes the notifications may take together, approximately; default 64 MiB.
    pub fn bytes(mut self, most: usize) -> Self {
        self.most_bytes = most;
        self
    }

    /// Sets what to do with a notification when the buffer is full; default: it is refused.
    pub fn when_full(mut self, when_full: WhenFull) -> Self {
        self.when_full = when_full;
        self
    }

    /// Sets how many are emitted at once, at least 1; default 256. The oldest is emitted before the
    /// others. With 1, none overtakes another, unless that one fails for a reason of its own.
    pub fn in_flight(mut self, notifications: usize) -> Self {
        self.in_flight = notifications.max(1);
        self
    }

    /// Sets how long a notification is retried before it is given up; default without limit.
    pub fn give_up_after(mut self, age: Duration) -> Self {
        self.give_up = Some(age);
        self
    }

    /// Sets the pauses between attempts: random ones up to `first`, which doubles up to `longest`;
    /// default 100 ms and 10 s.
    pub fn pauses(mut self, first: Duration, longest: Duration) -> Self {
        self.pauses = RetryPolicy::exponential(first, longest);
        self
    }

    /// Sets a function that is called with each notification that is given up, and the reason. It
    /// must not block. Default: an error is logged.
    pub fn on_lost(mut self, hook: impl Fn(&Notification, &Error) + Send + Sync + 'static) -> Self {
        self.on_lost = Arc::new(hook);
        self
    }

    /// Puts the buffer before a driver, and starts to emit what a buffer on disk still holds.
    ///
    /// # Errors
    /// [`NotifyError::Files`] when its folder cannot be used, or is in use.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn before(self, driver: impl Driver) -> Result<Buffered, Error> {
        let mut backlog = Backlog::new(self.most, self.most_bytes, self.when_full);
        let keeping = match self.folder {
            None => Keeping::Nowhere,
            Some(folder) => {
                let opened = tokio::task::spawn_blocking(move || Spool::open(&folder)).await;
                let (spool, kept) = opened.map_err(|error| NotifyError::Files(Box::new(error)))??;
                for (number, notification) in kept {
                    backlog.restore(number, notification);
                }
                Keeping::OnDisk(spool)
            }
        };
        let (waiting, _) = watch::channel(backlog.len());
        let emitter = Arc::new(Emitter {
            driver: Box::new(driver),
            backlog: sync::Mutex::new(backlog),
            keeping: tokio::sync::RwLock::new(keeping),
            waiting,
            in_flight: self.in_flight,
            give_up: self.give_up,
            pauses: self.pauses.deadline(Duration::MAX),
            on_lost: self.on_lost,
        });
        let task = tokio::spawn(emitter.clone().run());
        Ok(Buffered { emitter, task })
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buffer")
            .field("folder", &self.folder)
            .field("notifications", &self.most)
            .field("bytes", &self.most_bytes)
            .finish_non_exhaustive()
    }
}

/// A driver behind a [`Buffer`]. It has the driver's name.
///
/// # On drop
/// Nothing more is emitted. Notifications on disk stay there; those in memory are lost: call
/// [`Notifier::close`](crate::notify::Notifier::close) first.
pub struct Buffered {
    emitter: Arc<Emitter>,
    task: JoinHandle<()>,
}

impl Driver for Buffered {
    fn name(&self) -> &str {
        self.emitter.driver.name()
    }

    /// Returns when the buffer has the notification; the buffer's own retry settings apply.
    fn notify<'a>(&'a self, notification: &'a Notification, _: RetryPolicy) -> Emitting<'a> {
        Box::pin(self.emitter.take(notification))
    }

    fn pending(&self) -> usize {
        self.emitter.backlog.lock().len()
    }

    fn flush(&self) -> Emitting<'_> {
        Box::pin(async {
            let mut waiting = self.emitter.waiting.subscribe();
            // The sender lives as long as this, so there is no error.
            let _ = waiting.wait_for(|waiting| *waiting == 0).await;
            self.emitter.driver.flush().await
        })
    }

    fn close(&self) -> Emitting<'_> {
        Box::pin(async {
            self.task.abort();
            let keeping = std::mem::replace(&mut *self.emitter.keeping.write().await, Keeping::Closed);
            if let Keeping::OnDisk(spool) = keeping {
                spool.close().await;
            }
            self.emitter.driver.close().await
        })
    }
}

impl Drop for Buffered {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl fmt::Debug for Buffered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buffered").field("driver", &self.name()).field("pending", &self.pending()).finish()
    }
}
