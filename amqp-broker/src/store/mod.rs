//! Where what is to survive is written: one database of `fjall` for all virtual hosts, and a thread for each that writes
//! what has gathered while it wrote what was before, with one `fdatasync` for all of it.

#[cfg(feature = "durable")]
mod disk;
#[cfg(feature = "durable")]
mod error;
#[cfg(feature = "durable")]
mod files;
#[cfg(feature = "durable")]
mod format;
#[cfg(not(feature = "durable"))]
mod nowhere;
#[cfg(feature = "durable")]
mod room;

#[cfg(feature = "durable")]
pub(crate) use disk::{Disk, Progress};
#[cfg(feature = "durable")]
pub use error::DataError;
#[cfg(not(feature = "durable"))]
pub(crate) use nowhere::Disk;
#[cfg(feature = "durable")]
pub(crate) use room::Room;
