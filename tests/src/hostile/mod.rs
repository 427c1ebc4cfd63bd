//! Input that was found to hold up a broker, or to fill its memory: each at the size that did, and
//! smaller in the same shape.

mod bulk;
mod flood;
mod frames;
mod operation;
mod routing;

pub use flood::{Flood, Flooded};
pub use operation::Operation;
