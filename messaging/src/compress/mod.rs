//! Compressed bodies, as kombu and oslo.messaging write them.

#[cfg(feature = "brotli")]
mod brotli;
mod budget;
#[cfg(feature = "bzip2")]
mod bzip2;
mod compression;
mod header;
#[cfg(any(feature = "brotli", feature = "bzip2", feature = "xz", feature = "zstd"))]
mod limited;
pub(crate) mod room;
#[cfg(feature = "xz")]
mod xz;
mod zlib;
#[cfg(feature = "zstd")]
mod zstd;

pub(crate) use budget::Budget;
pub use budget::DECOMPRESSED_TOTAL;
#[cfg(feature = "oslo")]
pub(crate) use budget::Decompressed;
pub(crate) use compression::decompress;
pub use compression::{Compression, DECOMPRESSED_LIMIT};
#[cfg(feature = "oslo")]
pub(crate) use header::named_or_none;
pub(crate) use header::{HEADER, named};
