//! Notifications: events that are kept until somebody listens, as oslo.messaging emits and hears
//! them.
//!
//! A [`Notifier`] emits through [`drivers`], a [`Buffer`] between them where a broker may be away;
//! a [`Listener`] hears them one by one, a [`BatchListener`] many at once, through endpoints with a
//! [`Filter`] each.

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
