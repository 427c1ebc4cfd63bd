//! The choices that a load has names for.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// The type of queues.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum QueueKind {
    #[default]
    Classic,
    Quorum,
    Stream,
}

/// Where the time rides at which a message was published, or was due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Stamp {
    /// In the first 8 bytes of the body
    Body,
    /// In a header
    Header,
    /// Nowhere: throughput alone is measured
    None,
}
