//! `amqp bench`

use std::{fs, path::PathBuf};

use clap::{Args, Subcommand};

use crate::{
    commands::load::{
        compare,
        live::Live,
        load_arguments::LoadArguments,
        report::{csv, html, summary},
    },
    connection::{arguments::ConnectionArguments, target::Target},
    context::Context,
    error::Error,
    exit::Exit,
    load::run::{Shown, measure},
    output::{arguments::OutputArguments, json, notes::note, screen::Screen},
};

/// Measures a broker: throughput, and latencies from publish to delivery
///
/// It makes queues of its own, and deletes them at the end, and after Ctrl-C too. Without --rate,
/// publishers are as fast as confirms and the network let them be: latencies then tell how long
/// messages queue, and are labelled uncorrected. With --rate they count from when a message was
/// due.
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    other: Option<Other>,

    #[command(flatten)]
    load: LoadArguments,

    /// Writes the report to a file, as JSON, which `amqp bench compare` reads
    #[arg(long, value_name = "FILE", help_heading = "Reports")]
    json_file: Option<PathBuf>,

    /// Writes the intervals to a file, as CSV
    #[arg(long, value_name = "FILE", help_heading = "Reports")]
    csv: Option<PathBuf>,

    /// Writes the report to a file, as an HTML page with plots that needs nothing else
    #[arg(long, value_name = "FILE", help_heading = "Reports")]
    html: Option<PathBuf>,

    #[command(flatten)]
    output: OutputArguments,

    #[command(flatten)]
    connection: ConnectionArguments,
}

/// Further operations.
#[derive(Debug, Subcommand)]
enum Other {
    Compare(compare::Arguments),
}

pub(crate) async fn run(arguments: Arguments, context: &Context) -> Result<Exit, Error> {
    if let Some(Other::Compare(arguments)) = arguments.other {
        return compare::run(&arguments);
    }
    let mut screen = Screen::new(&arguments.output);
    let (plan, content) = arguments.load.plan()?;
    let target = Target::of(&arguments.connection)?;
    let live = Live::new();
    let mut show = |shown: Shown<'_>| {
        if let Shown::Live(now) = shown {
            live.show(&now);
        }
        Ok(())
    };
    let measured = measure(plan, &content, &target, context, &mut show).await?;
    drop(live);
    summary::print(&mut screen, &measured)?;
    let reports = [
        (&arguments.json_file, json::line(&measured) + "\n"),
        (&arguments.csv, csv::lines(&measured)),
        (&arguments.html, html::page(&measured)),
    ];
    for (path, text) in reports {
        if let Some(path) = path {
            fs::write(path, text).map_err(Error::file("write", path))?;
        }
    }
    if measured.left > 0 {
        note(&format!("{} messages were not consumed within the drain time", measured.left));
    }
    if context.interrupt.has_come() { Err(Error::Interrupted) } else { Ok(Exit::Done) }
}
