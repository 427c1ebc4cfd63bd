//! Brokers under hostile input: what starts them, watches over them, and tells what they did.

mod options;
mod subject;
mod watch;

pub use options::Options;
pub use subject::{Running, Subject};
pub use watch::{Seen, Watch};

/// Why a program ends.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;
