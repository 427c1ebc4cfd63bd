//! Where what is to survive is written: one database of `fjall` for all virtual hosts, and a thread for each that writes
//! what has gathered while it wrote what was before, with one `fdatasync` for all of it.

mod disk;
mod files;
mod format;

pub use disk::DataError;
pub(crate) use disk::{Disk, Progress};
