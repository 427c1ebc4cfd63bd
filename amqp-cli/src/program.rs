//! The program: arguments, runtime, command, exit code.

use std::{env, io::Write as _, process::ExitCode};

use amqp_broker::program::without_strays;
use amqp_client::Report;
use clap::{CommandFactory, Parser};
use tokio::runtime::{Builder, Runtime};

use crate::{
    commands::Command,
    context::Context,
    error::Error,
    exit::{EXIT_CODES, Exit},
    interrupt::Interrupt,
    output::escape::escaped_line,
};

/// One program for everything one does with AMQP 0-9-1 at a terminal.
///
/// The broker is that of --url, of --context, of AMQP_URL, of AMQP_CONTEXT, of the context that
/// `amqp context use` chose, or amqp://localhost. URLs are those of kombu and oslo.messaging:
/// amqp(s)://user:password@host,host/vhost?heartbeat=10, and redis://, sentinel://, filesystem://
/// for the queues that kombu and Celery keep there.
///
/// What others wrote is escaped before it reaches a terminal. Bodies in a pipe are as they were
/// sent; --json prints one object a line, and --format a template.
#[derive(Debug, Parser)]
#[command(name = "amqp", version, after_help = EXIT_CODES, max_term_width = 100, propagate_version = true)]
struct Program {
    #[command(subcommand)]
    command: Command,
}

/// Runs the program with the arguments of the process, and returns how it ended.
pub fn main() -> ExitCode {
    let program = Program::try_parse().unwrap_or_else(|error| refused(error).exit());
    let ended = match program.command {
        Command::Serve(arguments) => return amqp_broker::program::run("amqp serve", *arguments),
        Command::Decode(arguments) => arguments.run(),
        Command::Encode(arguments) => arguments.run(),
        Command::Completions(arguments) => arguments.run(Program::command()),
        Command::Man(arguments) => arguments.run(Program::command()),
        command => run(command),
    };
    match ended {
        Ok(exit) => exit.into(),
        Err(error) => failed(&error),
    }
}

/// The error of the arguments. Those of the broker may be parts of passwords.
fn refused(error: clap::Error) -> clap::Error {
    match env::args_os().nth(1).is_some_and(|command| command == "serve") {
        true => without_strays(error, &mut Program::command()),
        false => error,
    }
}

fn run(command: Command) -> Result<Exit, Error> {
    let runtime = runtime(command.uses_threads())?;
    let ended = runtime.block_on(async {
        let context = Context { interrupt: Interrupt::install()? };
        command.run(&context).await
    });
    // A read of standard input may still wait in a thread, and never end.
    runtime.shutdown_background();
    ended
}

fn runtime(uses_threads: bool) -> Result<Runtime, Error> {
    let mut builder = if uses_threads { Builder::new_multi_thread() } else { Builder::new_current_thread() };
    let built = builder.enable_all().build();
    built.map_err(|source| Error::System { operation: "start the runtime", source })
}

fn failed(error: &Error) -> ExitCode {
    if !error.is_silent() {
        // If standard error is closed, nobody can be told.
        let _ = writeln!(std::io::stderr(), "amqp: {}", escaped_line(&Report(error).to_string()));
    }
    error.exit().into()
}

#[cfg(test)]
mod tests {
    use clap::error::ErrorKind;

    use super::*;

    /// The options of Debian's amqp-tools 0.11, apart from those without a long name.
    const AMQP_TOOLS: &[&str] = &[
        "exchange",
        "routing-key",
        "persistent",
        "content-type",
        "reply-to",
        "line-buffered",
        "content-encoding",
        "header",
        "body",
        "queue",
        "declare",
        "exclusive",
        "no-ack",
        "count",
        "prefetch-count",
        "durable",
        "if-unused",
        "if-empty",
        "url",
        "server",
        "port",
        "vhost",
        "username",
        "password",
        "heartbeat",
        "authfile",
        "ssl",
        "cacert",
        "key",
        "cert",
        "help",
        "usage",
    ];

    #[test]
    fn the_arguments_of_all_commands_are_consistent() {
        Program::command().debug_assert();
    }

    #[test]
    fn every_option_of_amqp_tools_has_an_equivalent_that_can_be_parsed() {
        let rows: Vec<_> = include_str!("../README.md")
            .lines()
            .skip_while(|line| *line != "## From amqp-tools")
            .take_while(|line| *line != "## Records")
            .filter_map(|line| line.strip_prefix("| `")?.split_once(" | "))
            .collect();
        for option in AMQP_TOOLS {
            let written = [format!("--{option}="), format!("--{option} "), format!("--{option}`")];
            let is_there = rows.iter().any(|(theirs, _)| written.iter().any(|text| theirs.contains(text)));
            assert!(is_there, "the table does not have --{option}");
        }
        for (theirs, ours) in rows {
            let commands: Vec<_> =
                ours.split('`').skip(1).step_by(2).filter(|text| text.starts_with("amqp ")).collect();
            assert!(!commands.is_empty(), "{theirs} has no equivalent");
            for command in commands {
                match Program::try_parse_from(command.split(' ')) {
                    Ok(_) => {}
                    Err(error) => assert_eq!(error.kind(), ErrorKind::DisplayHelp, "{command}: {error}"),
                }
            }
        }
    }

    #[test]
    fn the_exit_codes_of_help_are_those_of_the_readme() {
        for line in EXIT_CODES.lines().skip(1) {
            let (code, meaning) = line.trim().split_once("  ").unwrap();
            let row = format!("| {code} | {} |", meaning.trim());
            assert!(include_str!("../README.md").contains(&row), "{row}");
        }
    }
}
