//! Notifications: events that are kept until somebody listens, as oslo.messaging emits and hears them.
//!
//! A [`Notifier`] emits through [`drivers`], a [`Buffer`] between them where a broker may be away; a [`Listener`] hears them one by
//! one, a [`BatchListener`] many at once, through endpoints with a [`Filter`] each.

mod backlog;
mod batch;
mod batch_listener;
mod buffer;
mod driver;
pub mod drivers;
mod emission;
mod endpoint;
pub(crate) mod error;
mod event;
mod filter;
mod level;
mod listener;
mod notification;
mod notifier;
mod once;
mod regular;
mod sources;
mod spool;
mod timestamp;
mod wire;

pub use crate::oslo::wire::duplicates::RepeatWindow;
pub use backlog::WhenFull;
pub use batch::{BatchEndpoint, BatchResult};
pub use batch_listener::{BatchListener, RunningBatchListener};
pub use buffer::{Buffer, Buffered};
pub use driver::{Driver, Emitting};
pub use endpoint::{Endpoint, NotificationResult};
pub use error::NotifyError;
pub use event::Event;
pub use filter::Filter;
pub use level::Level;
pub use listener::{Listener, RunningListener};
pub use notification::Notification;
pub use notifier::Notifier;
