//! The arguments that say how to print.

use clap::Args;

use crate::output::style::Color;

/// The form of the output.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Output")]
pub(crate) struct OutputArguments {
    /// Prints one JSON object a line
    #[arg(long, conflicts_with = "format")]
    pub(crate) json: bool,

    /// Prints by a template such as '{{routing_key}} {{body}}\n'; an unknown field is an error that
    /// lists those that there are
    #[arg(long, value_name = "TEMPLATE")]
    pub(crate) format: Option<String>,

    /// When to colour
    #[arg(long, value_enum, value_name = "WHEN", default_value_t)]
    pub(crate) color: Color,
}
