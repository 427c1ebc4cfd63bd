//! The store of persistent state: one database of `fjall` for all virtual hosts, and a writing
//! thread for each. Changes gather while the thread writes, and one `fdatasync` serves all of them.

#[cfg(feature = "durable")]
mod batches;
#[cfg(feature = "durable")]
mod check;
#[cfg(feature = "durable")]
mod contents;
mod disk;
#[cfg(feature = "durable")]
mod error;
#[cfg(feature = "durable")]
mod files;
#[cfg(feature = "durable")]
mod folder;
#[cfg(feature = "durable")]
mod mark;
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
mod writer;

pub(crate) use disk::Disk;
#[cfg(feature = "simulation")]
pub(crate) use disk::DiskQueue;
#[cfg(any(feature = "durable", feature = "simulation"))]
pub(crate) use disk::DiskReport;
#[cfg(feature = "durable")]
pub use error::DataError;
#[cfg(feature = "durable")]
pub(crate) use files::Restored;
#[cfg(feature = "durable")]
pub(crate) use folder::{Folder, WatchReport};
#[cfg(feature = "durable")]
pub(crate) use room::Room;
#[cfg(feature = "durable")]
pub(crate) use writer::Writer;
