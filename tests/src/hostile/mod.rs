//! Hostile input that was found to block a broker or to fill its memory, each at the size that did,
//! and scalable.

mod bulk;
mod flood;
mod frames;
mod operation;
mod routing;

pub use flood::{Flood, Flooded};
pub use operation::Operation;
