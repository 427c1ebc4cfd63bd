//! The disk of the program `amqp-broker`: what a power loss leaves of its folder, and what it does
//! when calls fail.
//!
//! A recorder notes every call that changes the folder. Of its log images are made as they may be
//! after a power loss, which the real program then opens.

mod body;
mod failing;
mod flips;
mod history;
mod image;
mod load;
mod log;
mod opened;
mod power_loss;
mod program;
mod recording;
mod spool;
mod spool_worker;
mod story;

pub use failing::{FAULTS, Failed, Fault, fail};
pub use flips::{FlipFigures, Flips};
pub use power_loss::{Failure, Figures, PowerLosses};
pub use program::Tools;
pub use spool::SpoolLosses;
pub use spool_worker::work as work_with_spool;
