//! The arguments that say where the management API is.

use std::path::PathBuf;

use clap::Args;

/// Where the management API is.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct ManagementArguments {
    /// The management API, as http://user@host:15672 or https://user@host:15671; the login is the
    /// broker's, unless it is here. https:// takes the parameters of amqps:// behind a ?:
    /// cacertfile, certfile, keyfile, server_name_indication, verify; those of the broker's URL
    /// hold for it too
    /// [default: port 15672 of the broker's host, or 15671 with TLS for amqps://]
    #[arg(long, value_name = "URL")]
    pub(crate) management: Option<String>,

    /// A file of certificate authorities that the management API's certificate is verified with
    /// [default: cacertfile of the URL, or those of the system]
    #[arg(long, value_name = "FILE")]
    pub(crate) cacert: Option<PathBuf>,
}
