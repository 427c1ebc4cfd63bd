//! `amqp top`

mod draw;
mod figures;
mod listed;
mod live;
mod once;
mod polling;
mod terminal;
mod view;

use std::{io::IsTerminal as _, time::Duration};

use clap::{Args, ValueEnum};

use self::{draw::Theme, listed::Order, polling::Source, view::View};
use crate::{
    connection::{arguments::ConnectionArguments, target::Target},
    context::Context,
    error::Error,
    exit::Exit,
    management::{arguments::ManagementArguments, endpoint::Endpoint},
    output::{
        arguments::OutputArguments,
        screen::Screen,
        style::{Color, Style},
    },
};

/// Shows what goes on in a broker: rates, queues, connections
///
/// The figures are those of RabbitMQ's management API, which the broker of `amqp serve --http` has
/// too. Keys: q quits, Tab shows the connections, s sorts by the next column, r reverses, / filters
/// by name, ? lists all.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// How often to ask the broker, in seconds. RabbitMQ counts anew every 5 seconds
    #[arg(short, long, value_name = "SECONDS", default_value = "2", value_parser = interval)]
    interval: Duration,

    /// Prints the figures once, as tables
    #[arg(long)]
    once: bool,

    /// Prints one JSON object a line: the sums, each queue, each connection
    #[arg(long, requires = "once")]
    json: bool,

    /// Shows one virtual host [default: all that the user may see]
    #[arg(long, value_name = "NAME")]
    vhost: Option<String>,

    /// The column by which queues are sorted at first
    #[arg(long, value_enum, value_name = "COLUMN", default_value_t)]
    sort: Sort,

    /// When to colour
    #[arg(long, value_enum, value_name = "WHEN", default_value_t)]
    color: Color,

    #[command(flatten)]
    management: ManagementArguments,

    #[command(flatten)]
    connection: ConnectionArguments,
}

/// A column of queues, in their order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Sort {
    Name,
    /// Messages that wait
    #[default]
    Ready,
    /// Messages that consumers have and have not settled
    Unacked,
    /// Messages a second into the queue
    In,
    /// Messages a second out of it
    Out,
    Consumers,
}

/// Parses an interval from 0.1 seconds to an hour.
fn interval(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "it is no number of seconds".to_owned())?;
    match (0.1..=3600.0).contains(&seconds) {
        true => Ok(Duration::from_secs_f64(seconds)),
        false => Err("it is from 0.1 to 3600 seconds".to_owned()),
    }
}

pub(crate) async fn run(arguments: Arguments, context: &Context) -> Result<Exit, Error> {
    let target = Target::of(&arguments.connection)?;
    let endpoint = Endpoint::of(&arguments.management, &target)?;
    let address = endpoint.address();
    if !arguments.once && !std::io::stdout().is_terminal() {
        return Err(Error::Usage(
            "standard output is no terminal; --once prints the figures once".to_owned(),
        ));
    }
    let source = Source { endpoint, vhost: arguments.vhost, interval: arguments.interval };
    let asking = async { source.ask().await.map_err(|source| Error::Management { address, source }) };
    let figures = context.interrupt.or(asking).await?;
    let column = arguments.sort as usize;
    if arguments.once {
        let output = OutputArguments { json: arguments.json, format: None, color: arguments.color };
        let order = Order { column, is_reversed: false };
        once::print(&mut Screen::new(&output), &figures, order)?;
        return Ok(Exit::Done);
    }
    let theme = Theme::new(Style::of_stdout(arguments.color));
    live::show(figures, source, View::new(column), theme, context).await
}
