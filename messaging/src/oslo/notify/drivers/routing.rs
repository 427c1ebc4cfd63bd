//! The driver that routes notifications to other drivers.

use std::sync::Arc;

use futures_util::future::join_all;

use super::rules::Rules;
use crate::{
    error::Error,
    oslo::error::notify::NotifyError,
    oslo::notify::{
        driver::{Driver, Emitting},
        notification::Notification,
    },
    retry::RetryPolicy,
};

/// Emits each notification to the drivers that [`Rules`] choose: oslo.messaging's `routing`.
#[derive(Clone)]
pub struct Routing {
    rules: Rules,
    drivers: Vec<Arc<dyn Driver>>,
}

impl Routing {
    /// Returns a driver with these rules, and the drivers that they name.
    ///
    /// # Errors
    /// [`NotifyError::UnknownDriver`] when the rules name a driver that is not given.
    pub fn new(rules: Rules, drivers: impl IntoIterator<Item = Arc<dyn Driver>>) -> Result<Self, Error> {
        let drivers: Vec<_> = drivers.into_iter().collect();
        if let Some(unknown) =
            rules.drivers().find(|name| !drivers.iter().any(|driver| driver.name() == *name))
        {
            return Err(NotifyError::UnknownDriver(unknown.to_owned()).into());
        }
        Ok(Routing { rules, drivers })
    }

    async fn route(&self, notification: &Notification, retry: RetryPolicy) -> Result<(), Error> {
        let accept =
            |name: &str| self.rules.accept(name, notification.level, notification.event_type.as_str());
        let chosen = self.drivers.iter().filter(|driver| accept(driver.name()));
        all(chosen.map(|driver| driver.notify(notification, retry))).await
    }
}

impl Driver for Routing {
    fn name(&self) -> &str {
        "routing"
    }

    fn notify<'a>(&'a self, notification: &'a Notification, retry: RetryPolicy) -> Emitting<'a> {
        Box::pin(self.route(notification, retry))
    }

    fn pending(&self) -> usize {
        self.drivers.iter().map(Driver::pending).sum()
    }

    fn flush(&self) -> Emitting<'_> {
        Box::pin(all(self.drivers.iter().map(Driver::flush)))
    }

    fn close(&self) -> Emitting<'_> {
        Box::pin(all(self.drivers.iter().map(Driver::close)))
    }
}

/// Runs all of them concurrently; returns the first error in their order.
async fn all<'a>(emitting: impl Iterator<Item = Emitting<'a>>) -> Result<(), Error> {
    join_all(emitting).await.into_iter().collect()
}
