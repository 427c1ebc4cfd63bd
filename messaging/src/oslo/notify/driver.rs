//! The trait of drivers, which emit notifications: to a broker, a log, a list or elsewhere.

use std::{future::ready, pin::Pin, sync::Arc};

use super::notification::Notification;
use crate::{error::Error, retry::RetryPolicy};

/// The future of a driver's work.
pub type Emitting<'a> = Pin<Box<dyn Future<Output = Result<(), Error>> + Send + 'a>>;

/// Emits notifications. Those of this library are in [`drivers`](super::drivers).
///
/// ```
/// use messaging::{Error, RetryPolicy, notify::{Driver, Emitting, Notification, Notifier}};
///
/// struct StandardError;
///
/// impl Driver for StandardError {
///     fn name(&self) -> &str {
///         "stderr"
///     }
///
///     fn notify<'a>(
///         &'a self,
///         notification: &'a Notification,
///         _retry: RetryPolicy,
///     ) -> Emitting<'a> {
///         Box::pin(async move {
///             eprintln!("{}: {}", notification.level(), notification.event_type());
///             Ok(())
///         })
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Error> {
/// let notifier = Notifier::new("compute.host1").driver(StandardError);
/// notifier.info(&messaging::Context::new(), "instance.create.end", &12).await
/// # }
/// ```
pub trait Driver: Send + Sync + 'static {
    /// Returns the name that routing rules and errors use.
    fn name(&self) -> &str;

    /// Emits a notification. Returns when it has reached its destination, or when the driver has
    /// taken responsibility for it.
    ///
    /// A driver of your own should report its failures as
    /// [`NotifyError::Driver`](crate::notify::NotifyError::Driver).
    fn notify<'a>(&'a self, notification: &'a Notification, retry: RetryPolicy) -> Emitting<'a>;

    /// Whether anything is ever emitted; default true.
    fn emits(&self) -> bool {
        true
    }

    /// Returns how many notifications it has taken and not emitted yet; default none.
    fn pending(&self) -> usize {
        0
    }

    /// Waits until all notifications that it has taken are emitted. The future is dropped at the
    /// caller's deadline.
    fn flush(&self) -> Emitting<'_> {
        Box::pin(ready(Ok(())))
    }

    /// Closes the driver: it takes no more notifications, and releases what it holds open.
    fn close(&self) -> Emitting<'_> {
        Box::pin(ready(Ok(())))
    }
}

/// A driver that is shared is a driver.
impl<D: Driver + ?Sized> Driver for Arc<D> {
    fn name(&self) -> &str {
        D::name(self)
    }

    fn notify<'a>(&'a self, notification: &'a Notification, retry: RetryPolicy) -> Emitting<'a> {
        D::notify(self, notification, retry)
    }

    fn emits(&self) -> bool {
        D::emits(self)
    }

    fn pending(&self) -> usize {
        D::pending(self)
    }

    fn flush(&self) -> Emitting<'_> {
        D::flush(self)
    }

    fn close(&self) -> Emitting<'_> {
        D::close(self)
    }
}
