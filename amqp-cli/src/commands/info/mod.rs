//! `amqp info`

mod draw;
mod server;
mod topology;

use std::time::Duration;

use amqp_client::{Channel, Queue};
use clap::{Args, ValueEnum};
use serde::Serialize;

use self::{server::ServerInfo, topology::Topology};
use crate::{
    connection::{
        arguments::ConnectionArguments,
        target::{Target, close},
    },
    context::Context,
    error::Error,
    exit::Exit,
    management::{
        arguments::ManagementArguments,
        endpoint::{Endpoint, broker},
        http::within,
    },
    output::{arguments::OutputArguments, notes::note, screen::Screen, table::Table},
};

/// Tells about the broker, and about queues
///
/// AMQP alone tells what the broker is, and of each QUEUE how many messages and consumers it has.
/// Where a management API answers, at --management or at port 15672 of the broker's host, all
/// exchanges, queues and bindings of the virtual host are told.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// Queues to tell about, over AMQP alone
    #[arg(value_name = "QUEUE")]
    queues: Vec<String>,

    /// How to show exchanges, queues and bindings
    #[arg(long, value_enum, value_name = "HOW", default_value_t, conflicts_with_all = ["queues", "json"])]
    shown: Form,

    #[command(flatten)]
    management: ManagementArguments,

    #[command(flatten)]
    output: OutputArguments,

    #[command(flatten)]
    connection: ConnectionArguments,
}

/// The form in which the topology is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Form {
    /// Tables
    #[default]
    Table,
    /// Exchanges, and below each what is bound to it
    Tree,
    /// A graph for Graphviz
    Dot,
}

/// A queue, as AMQP tells about it.
#[derive(Serialize)]
struct QueueCounts {
    queue: String,
    messages: u32,
    consumers: u32,
}

/// The time that the management API may take.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) async fn run(arguments: Arguments, context: &Context) -> Result<Exit, Error> {
    let mut screen = Screen::new(&arguments.output);
    let target = Target::of(&arguments.connection)?;
    let (connection, channel) = context.interrupt.or(target.open_channel()).await?;
    if !arguments.queues.is_empty() {
        let counting = count(&channel, &arguments.queues);
        let counts = context.interrupt.or(counting).await?;
        screen.objects(&counts, counts_table)?;
        close(&connection).await;
        return Ok(Exit::Done);
    }
    let server = ServerInfo::of(&connection.server_properties());
    close(&connection).await;
    let topology = context.interrupt.or(topology(&arguments, &target)).await?;
    if arguments.shown == Form::Table {
        screen.objects(&[server], ServerInfo::table)?;
    }
    if let Some(topology) = topology {
        show(&mut screen, &topology, arguments.shown)?;
    }
    Ok(Exit::Done)
}

async fn count(channel: &Channel, queues: &[String]) -> Result<Vec<QueueCounts>, Error> {
    let mut counts = Vec::new();
    for queue in queues {
        let declared = channel.declare(Queue::new(queue).passive(true)).await;
        let declared = declared.map_err(Error::broker(format!("count the messages of queue {queue:?}")))?;
        let (messages, consumers) = (declared.messages, declared.consumers);
        counts.push(QueueCounts { queue: declared.name, messages, consumers });
    }
    Ok(counts)
}

fn counts_table(counts: &[QueueCounts]) -> Table {
    let mut table = Table::new(&["QUEUE", "MESSAGES", "CONSUMERS"]);
    for counts in counts {
        table.row([counts.queue.clone(), counts.messages.to_string(), counts.consumers.to_string()]);
    }
    table
}

/// The topology, where a management API answers; it must, if it was asked for.
async fn topology(arguments: &Arguments, target: &Target) -> Result<Option<Topology>, Error> {
    let is_needed = arguments.management.management.is_some() || arguments.shown != Form::Table;
    let endpoint = match Endpoint::of(&arguments.management, target) {
        Ok(endpoint) => endpoint,
        Err(error) if is_needed => return Err(error),
        Err(_) => return Ok(None),
    };
    let vhost = broker(target).unwrap_or_default().vhost;
    match within(PATIENCE, Topology::ask(&endpoint, &vhost)).await {
        Ok(topology) => Ok(Some(topology)),
        Err(source) if is_needed => Err(Error::Management { address: endpoint.address(), source }),
        Err(_) => {
            note(
                "no management API answers, so that there is no more to tell; --management says where one is",
            );
            Ok(None)
        }
    }
}

fn show(screen: &mut Screen, topology: &Topology, form: Form) -> Result<(), Error> {
    let text = match form {
        Form::Table => {
            screen.objects(&topology.exchanges, draw::exchanges)?;
            screen.objects(&topology.queues, draw::queues)?;
            return screen.objects(&topology.bindings, draw::bindings);
        }
        Form::Tree => draw::tree(topology),
        Form::Dot => draw::dot(topology),
    };
    screen.stdout.write(text.as_bytes())?;
    screen.stdout.flush()
}
