//! What emits notifications: to a broker, a log, a list, or wherever its author likes.

use std::{future::ready, pin::Pin};

use super::notification::Notification;
use crate::{error::Error, retry::RetryPolicy};

/// A driver at work.
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
///     fn notify<'a>(&'a self, notification: &'a Notification, _retry: RetryPolicy) -> Emitting<'a> {
///         Box::pin(async move {
///             eprintln!("{}: {}", notification.level(), notification.event_type());
///             Ok(())
///         })
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Error> {
/// let notifier = Notifier::with("compute.host1", StandardError);
/// notifier.info(&messaging::Context::new(), "instance.create.end", &12).await
/// # }
/// ```
pub trait Driver: Send + Sync + 'static {
    /// What routing rules and errors call it.
    fn name(&self) -> &str;

    /// Emits a notification. Done when it is where it should be, or when the driver has taken the
    /// responsibility for it.
    ///
    /// What goes wrong with a driver of one's own is a
    /// [`NotifyError::Driver`](super::NotifyError::Driver).
    fn notify<'a>(&'a self, notification: &'a Notification, retry: RetryPolicy) -> Emitting<'a>;

    /// Whether anything is ever emitted; default true.
    fn emits(&self) -> bool {
        true
    }

    /// How many notifications it has taken and not emitted yet; default none.
    fn pending(&self) -> usize {
        0
    }

    /// Waits until all that it has taken is emitted. It is dropped at the deadline of whoever
    /// waits.
    fn flush(&self) -> Emitting<'_> {
        Box::pin(ready(Ok(())))
    }

    /// Ends it: it takes nothing more, and lets go of what it holds open.
    fn close(&self) -> Emitting<'_> {
        Box::pin(ready(Ok(())))
    }
}
