//! `amqp check`

mod answers;
mod findings;
mod probes;

use std::time::Duration;

use amqp_client::Report;
use clap::Args;
use tokio::time::timeout;

use self::{
    answers::{Form, answer, unknown},
    findings::{Findings, Limits, Status},
    probes::probe,
};
use crate::{
    connection::{arguments::ConnectionArguments, target::Target},
    context::Context,
    error::Error,
    exit::Exit,
    output::stdout::Stdout,
};

/// The exit codes by form, for `--help`.
const EXIT_CODES: &str = "\
Exit codes:
  --form nagios, json  0 ok, 1 warning, 2 critical or wrong arguments, 3 the check cannot be made
  --form probe         0 ok or warning, 1 critical or the check cannot be made
  --form prometheus    0 whenever metrics are printed
";

/// Checks a broker, for monitoring: that it can be connected to, and more where that is asked for
///
/// Whatever the broker does, the answer comes within --timeout.
#[derive(Args, Debug)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct Arguments {
    /// Who asks, which decides about output and exit codes
    #[arg(short, long, value_enum, value_name = "FORM", default_value_t)]
    form: Form,

    /// Sends a message to a queue of its own and back
    #[arg(long)]
    roundtrip: bool,

    /// A queue that there has to be; may be repeated. It is only looked at
    #[arg(short, long = "queue", value_name = "QUEUE")]
    queues: Vec<String>,

    /// The number of ready messages of a queue from which on it is a warning
    #[arg(short, long, value_name = "MESSAGES", requires = "queues")]
    warning: Option<u32>,

    /// The number of ready messages of a queue from which on it is critical
    #[arg(short, long, value_name = "MESSAGES", requires = "queues")]
    critical: Option<u32>,

    /// The least number of consumers of a queue; fewer are critical
    #[arg(long, value_name = "NUMBER", requires = "queues")]
    min_consumers: Option<u32>,

    /// How long the check may take
    #[arg(short, long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    timeout: u32,

    #[command(flatten)]
    connection: ConnectionArguments,
}

pub(crate) async fn run(arguments: Arguments, context: &Context) -> Result<Exit, Error> {
    let form = arguments.form;
    let (text, exit) = match check(arguments, context).await {
        Ok(findings) => answer(form, &findings),
        Err(Error::Interrupted) => return Err(Error::Interrupted),
        Err(error) => unknown(form, &Report(&error).to_string()),
    };
    let mut stdout = Stdout::new();
    stdout.write(text.as_bytes())?;
    stdout.flush()?;
    Ok(exit)
}

async fn check(arguments: Arguments, context: &Context) -> Result<Findings, Error> {
    let Arguments { roundtrip, queues, warning, critical, min_consumers, timeout: seconds, .. } = arguments;
    let limits = Limits { warning, critical, consumers: min_consumers };
    let target = Target::of(&arguments.connection)?;
    let mut findings = Findings::default();
    let probing = probe(&target, roundtrip, (&queues, limits), &mut findings);
    let limited = async { Ok(timeout(Duration::from_secs(seconds.into()), probing).await) };
    if context.interrupt.or(limited).await?.is_err() {
        findings.problems.push((Status::Critical, format!("no answer within {seconds} seconds")));
    }
    Ok(findings)
}
