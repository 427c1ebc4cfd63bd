//! `amqp latency`

use clap::Args;
use serde::Serialize;

use crate::{
    commands::load::{
        live::duration,
        load_arguments::{interval, positive_seconds, seconds, simplest},
        report::summary,
    },
    connection::{arguments::ConnectionArguments, target::Target},
    context::Context,
    error::Error,
    exit::Exit,
    load::{
        bodies::{Content, Sizes, Source},
        kinds::{QueueKind, Stamp},
        measured::Interval,
        plan::Plan,
        run::{Shown, measure},
    },
    output::{arguments::OutputArguments, screen::Screen},
};

/// Publishes to one queue at a steady rate, and prints how long messages take, until Ctrl-C
///
/// The times count from when a message was due to its delivery.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// Messages a second
    #[arg(short, long, value_name = "MESSAGES", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,

    /// The size of bodies in bytes, or a range
    #[arg(short, long, value_name = "BYTES|MIN-MAX", default_value = "16")]
    size: Sizes,

    /// The type of the queue
    #[arg(long = "type", value_enum, value_name = "TYPE", default_value_t)]
    kind: QueueKind,

    /// Has messages outlive the broker's process (delivery mode 2)
    #[arg(long)]
    persistent: bool,

    /// How often a line is printed
    #[arg(short, long, value_name = "SECONDS", default_value = "1", value_parser = interval)]
    interval: f64,

    /// How long messages flow before anything is measured
    #[arg(long, value_name = "SECONDS", default_value = "0", value_parser = seconds)]
    warm_up: f64,

    /// How long to measure [default: until Ctrl-C]
    #[arg(short, long, value_name = "SECONDS", value_parser = positive_seconds)]
    duration: Option<f64>,

    #[command(flatten)]
    output: OutputArguments,

    #[command(flatten)]
    connection: ConnectionArguments,
}

/// An interval as it is printed.
#[derive(Serialize)]
struct Line {
    seconds: f64,
    messages_per_second: f64,
    p50_us: Option<f64>,
    p99_us: Option<f64>,
    max_us: Option<f64>,
}

pub(crate) async fn run(arguments: Arguments, context: &Context) -> Result<Exit, Error> {
    let mut screen = Screen::new(&arguments.output);
    let target = Target::of(&arguments.connection)?;
    let content = Content::new(&Source::Sizes(arguments.size))?;
    let plan = Plan {
        kind: arguments.kind,
        size: arguments.size.to_string(),
        is_persistent: arguments.persistent,
        stamp: if arguments.size.smallest < 8 { Stamp::Header } else { Stamp::Body },
        rate: Some(arguments.rate),
        warm_up: arguments.warm_up,
        duration: arguments.duration,
        interval: arguments.interval,
        ..simplest()
    };
    let mut show = |shown: Shown<'_>| match shown {
        Shown::Interval(interval) => print(&mut screen, interval),
        Shown::Live(_) => Ok(()),
    };
    let measured = measure(plan, &content, &target, context, &mut show).await?;
    // A template is one for intervals.
    if arguments.output.format.is_none() {
        summary::print(&mut screen, &measured)?;
    }
    Ok(Exit::Done)
}

fn print(screen: &mut Screen, interval: &Interval) -> Result<(), Error> {
    let line = Line {
        seconds: interval.end,
        messages_per_second: interval.consumed,
        p50_us: interval.p50,
        p99_us: interval.p99,
        max_us: interval.max,
    };
    let shown = |latency: Option<f64>| latency.map_or_else(|| "-".to_owned(), duration);
    let text = format!(
        "{:6.1} s  {:8.0}/s  p50 {:>8}  p99 {:>8}  max {:>8}",
        line.seconds,
        line.messages_per_second,
        shown(line.p50_us),
        shown(line.p99_us),
        shown(line.max_us),
    );
    screen.object(&line, &text)
}
