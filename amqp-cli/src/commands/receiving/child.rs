//! A program that is run for each message.

use std::{
    ffi::OsString,
    io::ErrorKind,
    process::{ExitStatus, Stdio},
};

use clap::ValueEnum;
use tokio::{io::AsyncWriteExt as _, process::Command};

use crate::{error::Error, message::view::MessageView, output::json};

/// The fate of a message whose program failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnFailure {
    /// It returns to its queue, and comes again
    #[default]
    Requeue,
    /// It is dropped, or becomes a dead letter if the queue has an exchange for those
    Nack,
    /// It returns to its queue, and the program ends with the exit code of the failed one
    Stop,
}

/// Runs the program with the body on its standard input, and returns how it ended. It is started
/// directly, not by a shell, so that nothing in a message can become a command; its environment
/// has the exchange, the routing key, the properties as JSON, and whether the message is
/// redelivered.
///
/// # Errors
/// [`Error::Start`] when there is no such program.
///
/// # Cancel safety
/// The program continues when the future is dropped.
pub(crate) async fn run(command: &[OsString], message: &MessageView) -> Result<ExitStatus, Error> {
    let (program, arguments) = command.split_first().ok_or_else(|| Error::Usage("no command".to_owned()))?;
    let failed = |source| Error::Start { program: program.to_string_lossy().into_owned(), source };
    let mut child = Command::new(program);
    child.args(arguments).stdin(Stdio::piped());
    let properties = json::line(&message.properties_json());
    let variables = [
        ("AMQP_EXCHANGE", message.exchange.as_str()),
        ("AMQP_ROUTING_KEY", &message.routing_key),
        ("AMQP_REDELIVERED", if message.redelivered { "1" } else { "0" }),
        ("AMQP_QUEUE", message.queue.as_deref().unwrap_or_default()),
        ("AMQP_PROPERTIES", &properties),
    ];
    for (name, value) in variables {
        // The environment cannot hold a NUL, which a peer may write into a name.
        match value.contains('\0') {
            true => child.env_remove(name),
            false => child.env(name, value),
        };
    }
    let mut child = child.spawn().map_err(failed)?;
    let input = child.stdin.take();
    let write = async {
        let Some(mut input) = input else { return Ok(()) };
        input.write_all(&message.body).await
    };
    // A program need not read what it gets.
    let (written, ended) = tokio::join!(write, child.wait());
    match written {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(failed(error)),
        _ => ended.map_err(failed),
    }
}
