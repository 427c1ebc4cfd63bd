//! Notifications: events that are kept until somebody listens, compatible with oslo.messaging on
//! both sides.
//!
//! A [`Notifier`] emits through [`drivers`], with a [`Buffer`] before them if the broker may be
//! away. A [`Listener`] handles notifications one by one, a [`BatchListener`] many at once, through
//! endpoints that each have a [`Filter`].

mod driver;
pub mod drivers;
mod emit;
mod level;
mod listen;
mod notification;
mod timestamp;
mod wire;

pub use crate::oslo::error::notify::NotifyError;
pub use crate::oslo::wire::duplicates::RepeatWindow;
pub use driver::{Driver, Emitting};
pub use emit::backlog::WhenFull;
pub use emit::buffer::{Buffer, Buffered};
pub use emit::notifier::Notifier;
pub use level::Level;
pub use listen::batch::{BatchEndpoint, BatchResult};
pub use listen::batch_listener::{BatchListener, RunningBatchListener};
pub use listen::endpoint::{Endpoint, NotificationResult};
pub use listen::event::Event;
pub use listen::filter::Filter;
pub use listen::listener::{Listener, RunningListener};
pub use notification::Notification;
