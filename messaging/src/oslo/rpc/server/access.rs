//! The policy that says which of a server's methods may be called.

use std::collections::HashSet;

/// Which methods of its endpoints a server runs; others are answered as if they did not exist. The
/// names are those of oslo.messaging's policies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum AccessPolicy {
    /// All methods except those whose name begins with `_`.
    #[default]
    Default,
    /// All methods.
    Legacy,
    /// Only methods that are exposed: [`Endpoint::expose`](crate::rpc::Endpoint::expose).
    Explicit,
}

impl AccessPolicy {
    pub(crate) fn allows(self, method: &str, exposed: &HashSet<String>) -> bool {
        match self {
            AccessPolicy::Default => !method.starts_with('_'),
            AccessPolicy::Legacy => true,
            AccessPolicy::Explicit => exposed.contains(method),
        }
    }
}
