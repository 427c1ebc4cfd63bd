//! The state that all requests of a listener share.

pub(crate) mod options;
pub(crate) mod password_checks;

use std::sync::Arc;

use self::{
    options::HttpOptions,
    password_checks::{KnownLogin, PasswordChecks},
};
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
    pub(crate) checks: PasswordChecks,
}

/// The connection that a request comes from.
#[derive(Clone, Debug, Default)]
pub(crate) struct Peer {
    /// Set when it is on this machine.
    pub(crate) is_near: bool,
    pub(crate) known: KnownLogin,
}
