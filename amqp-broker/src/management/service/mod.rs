//! The state that all requests of a listener share.

pub(crate) mod options;

use std::sync::Arc;

use self::options::HttpOptions;
use super::samples::sampler::Samples;
use crate::broker::Broker;

/// The name of this node, and of the cluster that it is.
pub(crate) const NODE: &str = "rabbit@localhost";
pub(crate) const CLUSTER: &str = "rabbit@localhost";

/// The state that all requests of a listener share.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    pub(crate) broker: Broker,
    pub(crate) options: HttpOptions,
    pub(crate) samples: Arc<Samples>,
}

/// Where a request comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer {
    /// Set when it is on this machine.
    pub(crate) is_near: bool,
}
