//! The arguments that say where the management API is.

use clap::Args;

/// Where the management API is.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct ManagementArguments {
    /// The management API, as http://user@host:15672; the login is the broker's, unless it is here
    #[arg(long, value_name = "URL")]
    pub(crate) management: Option<String>,
}
