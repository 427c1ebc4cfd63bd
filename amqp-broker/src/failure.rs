//! Why a broker can go on no more.

use std::{io, path::PathBuf, sync::Arc};

/// Why a broker can go on no more: see [`Broker::failed`](crate::Broker::failed).
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// What is to survive cannot be written: such as where the disk is full.
    #[error("cannot write to {}", .path.display())]
    Disk {
        /// The folder.
        path: PathBuf,
        /// The first cause.
        source: Arc<io::Error>,
    },
}
