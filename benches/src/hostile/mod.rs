//! Brokers under hostile input: starting them, watching them, and the options of the programs that
//! do.

mod options;
mod subject;
mod watch;

pub use options::Options;
pub use subject::{Running, Subject};
pub use watch::{Seen, Watch};

/// Why a program ends.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;
