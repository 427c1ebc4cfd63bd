//! `amqp celery inspect` and `amqp celery control`: Celery's remote control, a method of which is
//! one or the other by what it does, not by how it is called.

use std::time::Duration;

use clap::Args;
use serde::Serialize;
use serde_json::Value as Json;

use crate::{
    commands::receiving::receive::seconds,
    connection::{arguments::ConnectionArguments, target::Target},
    context::Context,
    error::Error,
    exit::Exit,
    message::{
        assignment::{Assignment, table_of},
        value_json::table_to_json,
    },
    output::{arguments::OutputArguments, json, notes::note, screen::Screen, table::Table},
};

#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// The method
    method: String,

    /// Its arguments; KEY:=JSON for other types than text
    #[arg(value_name = "KEY=TEXT")]
    arguments: Vec<Assignment>,

    /// A worker, as celery@host; may be repeated [default: all]
    #[arg(short, long, value_name = "NODE")]
    destination: Vec<String>,

    /// How long to wait for answers; named workers end it when all have answered
    #[arg(short, long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    timeout: Duration,

    /// The namespace, Celery's control_exchange [default: celery, with Celery's own settings]
    #[arg(long, value_name = "NAME")]
    namespace: Option<String>,

    #[command(flatten)]
    output: OutputArguments,

    #[command(flatten)]
    connection: ConnectionArguments,
}

/// An answer as it is printed.
#[derive(Serialize)]
struct Answer {
    node: String,
    answer: Json,
}

pub(crate) async fn run(arguments: Arguments, context: &Context) -> Result<Exit, Error> {
    let mut screen = Screen::new(&arguments.output);
    let asking = ask(&arguments);
    let mut answers = context.interrupt.or(asking).await?;
    answers.sort_by(|one, other| one.node.cmp(&other.node));
    screen.objects(&answers, |answers| {
        let mut table = Table::new(&["NODE", "ANSWER"]);
        for Answer { node, answer } in answers {
            table.row([node.clone(), json::line(answer)]);
        }
        table
    })?;
    match answers.is_empty() {
        true => Err(Error::Nothing(format!("no worker answered within {:?}", arguments.timeout))),
        false => Ok(Exit::Done),
    }
}

async fn ask(arguments: &Arguments) -> Result<Vec<Answer>, Error> {
    let failed = || Error::messaging(format!("call {:?}", arguments.method));
    let named = table_to_json(&table_of(&arguments.arguments)?);
    let transport = Target::of(&arguments.connection)?.transport().await?;
    let mailbox = match &arguments.namespace {
        Some(namespace) => transport.mailbox(namespace).kind(messaging::mailbox::Kind::Fanout).open(),
        None => transport.celery().mailbox().clone(),
    };
    let command = mailbox.command(&arguments.method).arguments(&named).map_err(failed())?;
    let mut command = command.timeout(arguments.timeout);
    if !arguments.destination.is_empty() {
        command = command.to(arguments.destination.clone());
    }
    let mut replies = command.call().await.map_err(failed())?;
    let mut answers = Vec::new();
    while let Some(reply) = replies.recv().await {
        match reply {
            Ok(reply) => {
                let (node, answer) = reply.into_parts();
                answers.push(Answer { node, answer });
            }
            Err(error) => note(&format!("an answer is unreadable: {}", amqp_client::Report(&error))),
        }
    }
    for node in replies.missing() {
        note(&format!("{node} did not answer"));
    }
    drop(replies);
    transport.close().await.map_err(Error::messaging("close the connection"))?;
    Ok(answers)
}
