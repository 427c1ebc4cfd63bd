//! The arguments that say which broker to use.

use std::path::PathBuf;

use clap::Args;

/// Which broker to use. Everything but the name is optional.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Connection")]
pub(crate) struct ConnectionArguments {
    /// The broker's URL, as kombu and oslo.messaging write it. A password in an argument can be
    /// seen by every user of this machine: AMQP_URL, a context or --password-file keep it
    /// [default: AMQP_URL, or the context in use, or amqp://localhost]
    #[arg(short, long, value_name = "URL", conflicts_with = "context")]
    pub(crate) url: Option<String>,

    /// A named URL; see `amqp context` [default: AMQP_CONTEXT, if there is no AMQP_URL]
    #[arg(long, value_name = "NAME")]
    pub(crate) context: Option<String>,

    /// A file whose first line is the password, for a URL without one
    #[arg(long, value_name = "FILE", conflicts_with = "ask_password")]
    pub(crate) password_file: Option<PathBuf>,

    /// Asks for the password at the terminal
    #[arg(long)]
    pub(crate) ask_password: bool,

    /// The name of the connection, which the broker's tools show
    #[arg(long, value_name = "NAME", default_value = "amqp")]
    pub(crate) connection_name: String,

    /// The time that opening the connection may take, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    pub(crate) connect_timeout: u32,
}
