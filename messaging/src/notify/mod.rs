//! Notifications: events that are kept until somebody listens, as oslo.messaging emits and hears them.

mod level;
mod listener;
mod notifier;
mod timestamp;
mod wire;

pub use level::Level;
pub use listener::{Event, Listener, NotificationResult, RunningListener};
pub use notifier::Notifier;
