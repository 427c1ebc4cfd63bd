//! The driver that keeps notifications in memory, for tests.

use std::{collections::VecDeque, future::ready, sync::Arc};

use crate::{
    oslo::notify::{
        driver::{Driver, Emitting},
        notification::Notification,
    },
    retry::RetryPolicy,
    sync::Mutex,
};

/// The most notifications that are kept.
const ROOM: usize = 10_000;

/// Keeps the last 10,000 notifications for tests to look at. Cloning gives another handle to the
/// same list.
///
/// ```
/// use messaging::{Context, notify::{Notifier, drivers}};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), messaging::Error> {
/// let emitted = drivers::Test::new();
/// Notifier::new("p").driver(emitted.clone()).error(&Context::new(), "disk.full", &"sda").await?;
/// assert_eq!(emitted.notifications()[0].event_type(), "disk.full");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Test(Arc<Mutex<VecDeque<Notification>>>);

impl Test {
    /// Returns a driver with an empty list.
    #[must_use]
    pub fn new() -> Self {
        Test::default()
    }

    /// Returns the emitted notifications in their order.
    #[must_use]
    pub fn notifications(&self) -> Vec<Notification> {
        self.0.lock().iter().cloned().collect()
    }
}

impl Driver for Test {
    fn name(&self) -> &str {
        "test"
    }

    fn notify<'a>(&'a self, notification: &'a Notification, _: RetryPolicy) -> Emitting<'a> {
        let mut kept = self.0.lock();
        if kept.len() >= ROOM {
            kept.pop_front();
        }
        kept.push_back(notification.clone());
        Box::pin(ready(Ok(())))
    }
}
