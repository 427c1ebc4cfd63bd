//! The arguments that make a load.

use std::{path::PathBuf, thread};

use clap::Args;

use crate::{
    error::Error,
    load::{
        bodies::{Content, Sizes, Source},
        kinds::{QueueKind, Stamp},
        plan::Plan,
    },
};

/// The parts of the load.
#[derive(Args, Debug)]
#[command(next_help_heading = "Load")]
pub(crate) struct LoadArguments {
    /// Publishers
    #[arg(short, long, value_name = "NUMBER", default_value_t = 1)]
    publishers: usize,

    /// Consumers
    #[arg(short, long, value_name = "NUMBER", default_value_t = 1)]
    consumers: usize,

    /// Queues, over which publishers and consumers are spread. They are durable, and deleted at the
    /// end
    #[arg(short, long, value_name = "NUMBER", default_value_t = 1, value_parser = number_of_queues)]
    queues: usize,

    /// A queue that there is, instead of those; may be repeated. Consumers take what is in it, and
    /// nothing is declared or deleted
    #[arg(long = "queue", value_name = "QUEUE", conflicts_with = "queues")]
    named_queues: Vec<String>,

    /// The type of the queues
    #[arg(long = "type", value_enum, value_name = "TYPE", default_value_t)]
    kind: QueueKind,

    /// The size of bodies in bytes, or a range, from which each is chosen at random
    #[arg(short, long, value_name = "BYTES|MIN-MAX", default_value = "16")]
    size: Sizes,

    /// A file that is each message's body
    #[arg(long, value_name = "FILE", conflicts_with = "size")]
    body: Option<PathBuf>,

    /// Has messages outlive the broker's process (delivery mode 2)
    #[arg(long)]
    persistent: bool,

    /// Where the time of publishing rides, from which latencies are known [default: body, unless
    /// that is a file or has less than 8 bytes; then header]
    #[arg(long, value_enum, value_name = "WHERE")]
    stamp: Option<Stamp>,

    /// Each publisher's messages a second. Latencies count from when a message was due, so that a
    /// broker that delays publishers cannot hide it [default: as fast as possible]
    #[arg(short, long, value_name = "MESSAGES", value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,

    /// Each consumer's messages a second [default: as fast as possible]
    #[arg(long, value_name = "MESSAGES", value_parser = clap::value_parser!(u32).range(1..))]
    consume_rate: Option<u32>,

    /// How many confirms each publisher may have open; 0 asks for no confirms
    #[arg(long, value_name = "WINDOW", default_value_t = 1000)]
    confirm: usize,

    /// After how many deliveries a consumer acknowledges them together; 0 consumes without
    /// acknowledgement. Acknowledgements of consecutive messages that leave together are one frame
    #[arg(short, long, value_name = "DELIVERIES", default_value_t = 1)]
    ack_every: u32,

    /// How many unacknowledged deliveries each consumer may have; 0 is no limit
    #[arg(long, value_name = "DELIVERIES", default_value_t = 1000)]
    prefetch: u16,

    /// The most connections of all publishers, and of all consumers [default: one each]
    #[arg(long, value_name = "NUMBER", value_parser = number_of_connections)]
    connections: Option<usize>,

    /// The most threads [default: one for each processor]
    #[arg(long, value_name = "NUMBER", value_parser = number_of_connections)]
    threads: Option<usize>,

    /// How long messages flow before anything is measured
    #[arg(long, value_name = "SECONDS", default_value = "0", value_parser = seconds)]
    warm_up: f64,

    /// How long to measure [default: 10, or until the count is reached]
    #[arg(short, long, value_name = "SECONDS", value_parser = positive_seconds)]
    duration: Option<f64>,

    /// Each publisher's messages after the warm-up; without publishers, those to consume in all
    #[arg(short = 'n', long, value_name = "MESSAGES", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,

    /// How long consumers may take for what is left at the end
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    drain: f64,

    /// The length of the intervals in the report
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = interval)]
    interval: f64,
}

/// A plan without anything special: one publisher and one consumer on one classic queue.
pub(crate) fn simplest() -> Plan {
    Plan {
        publishers: 1,
        consumers: 1,
        queues: 1,
        named_queues: Vec::new(),
        kind: QueueKind::Classic,
        size: String::new(),
        is_persistent: false,
        stamp: Stamp::Body,
        rate: None,
        consume_rate: None,
        confirm_window: 1000,
        ack_every: 1,
        prefetch: 1000,
        connections: 1,
        threads: processors(),
        warm_up: 0.0,
        duration: None,
        count: None,
        drain: 10.0,
        interval: 1.0,
    }
}

impl LoadArguments {
    /// The plan, and the content of the messages.
    ///
    /// # Errors
    /// [`Error::Usage`] when the arguments contradict each other, [`Error::File`].
    pub(crate) fn plan(self) -> Result<(Plan, Content), Error> {
        self.check()?;
        let (size, source) = match self.body {
            Some(file) => (file.display().to_string(), Source::File(file)),
            None => (self.size.to_string(), Source::Sizes(self.size)),
        };
        let stamp = self.stamp.unwrap_or(match source {
            Source::Sizes(Sizes { smallest: 8.., .. }) => Stamp::Body,
            _ => Stamp::Header,
        });
        let is_endless = self.duration.is_none() && self.count.is_none();
        let plan = Plan {
            publishers: self.publishers,
            consumers: self.consumers,
            queues: self.queues,
            named_queues: self.named_queues,
            kind: self.kind,
            size,
            is_persistent: self.persistent,
            stamp,
            rate: self.rate,
            consume_rate: self.consume_rate,
            confirm_window: self.confirm,
            ack_every: self.ack_every,
            prefetch: if self.ack_every == 0 { 0 } else { self.prefetch },
            connections: self.connections.unwrap_or(self.publishers.max(self.consumers)),
            threads: self.threads.unwrap_or_else(processors),
            warm_up: self.warm_up,
            duration: if is_endless { Some(10.0) } else { self.duration },
            count: self.count,
            drain: self.drain,
            interval: self.interval,
        };
        Ok((plan, Content::new(&source)?))
    }

    fn check(&self) -> Result<(), Error> {
        let usage = |text: &str| Err(Error::Usage(text.to_owned()));
        if self.publishers == 0 && self.consumers == 0 {
            return usage("there are neither publishers nor consumers");
        }
        if self.publishers == 0 && self.named_queues.is_empty() {
            return usage("without publishers, --queue says where messages are");
        }
        if self.stamp == Some(Stamp::Body) && self.body.is_some() {
            return usage("a stamp in the body would change the file's octets: --stamp header does not");
        }
        if self.stamp == Some(Stamp::Body) && self.size.smallest < 8 {
            return usage("a stamp in the body needs 8 bytes: --stamp header does not");
        }
        if self.prefetch > 0 && self.ack_every > self.prefetch.into() {
            return usage(
                "a consumer that acknowledges more deliveries than its prefetch would wait forever",
            );
        }
        if self.kind == QueueKind::Stream && (self.ack_every == 0 || self.prefetch == 0) {
            return usage("a stream is consumed with acknowledgements and a prefetch");
        }
        Ok(())
    }
}

fn processors() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

fn number_of_queues(text: &str) -> Result<usize, String> {
    number(text, 10_000)
}

fn number_of_connections(text: &str) -> Result<usize, String> {
    number(text, 65_535)
}

fn number(text: &str, most: usize) -> Result<usize, String> {
    match text.parse() {
        Ok(number) if (1..=most).contains(&number) => Ok(number),
        _ => Err(format!("it is no number from 1 to {most}")),
    }
}

/// A century, beyond which clocks do not count.
const LONGEST: f64 = 3e9;

pub(crate) fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.0..=LONGEST).contains(&seconds) => Ok(seconds),
        _ => Err("it is no number of seconds".to_owned()),
    }
}

pub(crate) fn positive_seconds(text: &str) -> Result<f64, String> {
    let seconds = seconds(text)?;
    if seconds > 0.0 { Ok(seconds) } else { Err("it is no time".to_owned()) }
}

pub(crate) fn interval(text: &str) -> Result<f64, String> {
    let seconds = seconds(text)?;
    if seconds >= 0.01 { Ok(seconds) } else { Err("intervals have at least 0.01 seconds".to_owned()) }
}
