//! Notifications: events that are kept until somebody listens, compatible with oslo.messaging on
//! both sides.
//!
//! A [`Notifier`] emits through [`drivers`], with a [`Buffer`] before them if the broker may be
//! away. A [`Listener`] handles notifications one by one, a [`BatchListener`] many at once, through
//! endpoints that each have a [`Filter`].

pub use crate::oslo::{
    error::notify::NotifyError,
    notify::{
        driver::{Driver, Emitting},
        drivers,
        emit::{
            backlog::WhenFull,
            buffer::{Buffer, Buffered},
            notifier::Notifier,
        },
        level::Level,
        listen::{
            batch::{BatchEndpoint, BatchResult},
            batch_listener::{BatchListener, RunningBatchListener},
            endpoint::{Endpoint, NotificationResult},
            event::Event,
            filter::Filter,
            listener::{Listener, RunningListener},
        },
        notification::Notification,
    },
    wire::duplicates::RepeatWindow,
};
