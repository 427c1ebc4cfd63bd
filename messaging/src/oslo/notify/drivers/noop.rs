//! The driver that discards notifications.

use std::future::ready;

use crate::{
    oslo::notify::{
        driver::{Driver, Emitting},
        notification::Notification,
    },
    retry::RetryPolicy,
};

/// Emits nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Noop;

impl Driver for Noop {
    fn name(&self) -> &str {
        "noop"
    }

    fn notify<'a>(&'a self, _: &'a Notification, _: RetryPolicy) -> Emitting<'a> {
        Box::pin(ready(Ok(())))
    }

    fn emits(&self) -> bool {
        false
    }
}
