//! `amqp declare exchange`

use amqp_client::Exchange;
use clap::Args;
use serde::Serialize;

use crate::{
    connection::{
        arguments::ConnectionArguments,
        target::{Target, close},
    },
    context::Context,
    error::Error,
    exit::Exit,
    message::assignment::{Assignment, table_of},
    output::{arguments::OutputArguments, escape::escaped_line, screen::Screen},
};

/// Declares an exchange, and prints its name
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// The exchange
    exchange: String,

    /// The type: direct, fanout, topic, headers, or one of a plugin
    #[arg(long = "type", value_name = "TYPE", default_value = "direct")]
    kind: String,

    /// Makes it end with the broker
    #[arg(long)]
    transient: bool,

    /// Makes it end with its last binding
    #[arg(long)]
    auto_delete: bool,

    /// Lets other exchanges alone publish to it
    #[arg(long)]
    internal: bool,

    /// Only checks that there is an exchange of this name
    #[arg(long)]
    passive: bool,

    /// The exchange for what no queue takes
    #[arg(long, value_name = "EXCHANGE")]
    alternate: Option<String>,

    /// Any argument; KEY:=JSON for other types than text; may be repeated
    #[arg(short, long = "argument", value_name = "KEY=TEXT")]
    arguments: Vec<Assignment>,

    #[command(flatten)]
    output: OutputArguments,

    #[command(flatten)]
    connection: ConnectionArguments,
}

/// The output.
#[derive(Serialize)]
struct Declared<'a> {
    exchange: &'a str,
}

pub(crate) async fn run(arguments: Arguments, context: &Context) -> Result<Exit, Error> {
    let mut screen = Screen::new(&arguments.output);
    let exchange = exchange(&arguments)?;
    let target = Target::of(&arguments.connection)?;
    let (connection, channel) = context.interrupt.or(target.open_channel()).await?;
    let what = format!("declare exchange {:?}", arguments.exchange);
    let declaring = async { channel.declare(&exchange).await.map_err(Error::broker(what)) };
    context.interrupt.or(declaring).await?;
    screen.object(&Declared { exchange: &arguments.exchange }, &escaped_line(&arguments.exchange))?;
    close(&connection).await;
    Ok(Exit::Done)
}

fn exchange(arguments: &Arguments) -> Result<Exchange, Error> {
    let mut exchange = Exchange::new(&arguments.exchange, &arguments.kind)
        .durable(!arguments.transient)
        .auto_delete(arguments.auto_delete)
        .internal(arguments.internal)
        .passive(arguments.passive);
    if let Some(alternate) = &arguments.alternate {
        exchange = exchange.alternate(alternate);
    }
    for (key, value) in &table_of(&arguments.arguments)? {
        exchange = exchange.arg(&key.to_text(), value).map_err(|error| Error::Usage(error.to_string()))?;
    }
    Ok(exchange)
}
