//! Why a broker has failed.

use std::{io, path::PathBuf, sync::Arc};

/// Why a broker has failed; see [`Broker::failed`](crate::Broker::failed).
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// Persistent state cannot be written, for example because the disk is full.
    #[error("cannot write to {}", .path.display())]
    Disk {
        /// The folder.
        path: PathBuf,
        /// The first cause.
        source: Arc<io::Error>,
    },
}
