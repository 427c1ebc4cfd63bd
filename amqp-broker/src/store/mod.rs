//! The store of persistent state: one database of `fjall` for all virtual hosts, and a writing
//! thread for each. Changes gather while the thread writes, and one `fdatasync` serves all of them.

#[cfg(feature = "durable")]
mod batches;
#[cfg(feature = "durable")]
mod check;
#[cfg(feature = "durable")]
mod contents;
#[cfg(feature = "durable")]
mod disk;
#[cfg(feature = "durable")]
mod error;
#[cfg(feature = "durable")]
mod files;
#[cfg(feature = "durable")]
mod folder;
#[cfg(feature = "durable")]
mod mark;
#[cfg(not(feature = "durable"))]
mod nowhere;
#[cfg(feature = "durable")]
mod number;
#[cfg(feature = "durable")]
mod options;
#[cfg(feature = "durable")]
mod rebuild;
#[cfg(feature = "durable")]
mod repair;
#[cfg(feature = "durable")]
mod room;

#[cfg(feature = "durable")]
pub(crate) use disk::{Disk, DiskReport};
#[cfg(feature = "durable")]
pub use error::DataError;
#[cfg(feature = "durable")]
pub(crate) use files::Restored;
#[cfg(feature = "durable")]
pub(crate) use folder::Folder;
#[cfg(not(feature = "durable"))]
pub(crate) use nowhere::Disk;
#[cfg(feature = "durable")]
pub(crate) use room::Room;
