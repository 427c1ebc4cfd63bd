//! `amqp replay`

use std::{path::PathBuf, time::Duration};

use amqp_client::{Message, Route};
use clap::Args;
use tokio::time::{Instant, sleep_until};

use crate::{
    connection::{
        arguments::ConnectionArguments,
        target::{Target, close},
    },
    context::Context,
    error::Error,
    exit::Exit,
    message::outcomes::Outcomes,
    output::{notes::note, progress::Progress},
    records::{line::Record, reader::RecordReader},
};

/// The longest time after the first message: a clock that was set, or a speed near 0, must not
/// exceed what a clock can count.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Publishes recorded messages again, octet by octet and in their order
///
/// All records are checked before the first is published.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// The folder
    #[arg(value_name = "DIR")]
    folder: PathBuf,

    /// How much faster than recorded: 2 halves the time between messages
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0, value_parser = factor)]
    speed: f64,

    /// The time between messages, instead of that recorded; 0 publishes as fast as the broker
    /// confirms
    #[arg(long, value_name = "MILLISECONDS", conflicts_with = "speed")]
    delay: Option<u64>,

    /// The exchange to publish to, instead of that recorded
    #[arg(short, long)]
    exchange: Option<String>,

    /// The routing key to publish with, instead of that recorded
    #[arg(short, long, value_name = "KEY")]
    routing_key: Option<String>,

    /// Has a message that no queue takes returned: exit code 5
    #[arg(short, long)]
    mandatory: bool,

    /// How long to wait for a broker that does not accept or confirm a message
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    timeout: u64,

    #[command(flatten)]
    connection: ConnectionArguments,
}

fn factor(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(factor) if factor.is_finite() && factor > 0.0 => Ok(factor),
        _ => Err("it is no number above 0".to_owned()),
    }
}

pub(crate) async fn run(arguments: Arguments, context: &Context) -> Result<Exit, Error> {
    let total = RecordReader::count(&arguments.folder)?;
    let mut records = RecordReader::open(&arguments.folder)?;
    let target = Target::of(&arguments.connection)?;
    let (connection, channel) = context.interrupt.or(target.open_channel()).await?;
    let deadline = Duration::from_secs(arguments.timeout);
    let publisher =
        channel.publisher().await.map_err(Error::broker("turn confirms on"))?.with_timeout(deadline);
    let mut outcomes = Outcomes::new(deadline);
    let mut schedule = Schedule::new(&arguments);
    let mut progress = Progress::new(Some(total), false);
    let mut number = 0;
    while let Some(record) = records.next()? {
        let due = async {
            schedule.wait(&record).await;
            Ok(())
        };
        if context.interrupt.or(due).await.is_err() {
            break;
        }
        number += 1;
        let message = Message::with_encoded_properties(record.body, record.properties);
        let exchange = arguments.exchange.as_ref().unwrap_or(&record.exchange);
        let key = arguments.routing_key.as_ref().unwrap_or(&record.routing_key);
        let route = Route::new(exchange, key).mandatory(arguments.mandatory);
        let published = publisher.publish(route, &message).await;
        let confirm = published.map_err(Error::broker(format!("publish message {number}")))?;
        outcomes.add(number, confirm).await?;
        progress.show(number);
    }
    drop(progress);
    let taken = outcomes.all().await?;
    note(&format!("{taken} of {total} messages replayed"));
    close(&connection).await;
    if context.interrupt.has_come() { Err(Error::Interrupted) } else { Ok(Exit::Done) }
}

/// When each message is due.
struct Schedule {
    begin: Instant,
    first: Option<u64>,
    count: u32,
    speed: f64,
    delay: Option<Duration>,
}

impl Schedule {
    fn new(arguments: &Arguments) -> Self {
        let delay = arguments.delay.map(Duration::from_millis);
        Schedule { begin: Instant::now(), first: None, count: 0, speed: arguments.speed, delay }
    }

    async fn wait(&mut self, record: &Record) {
        let first = *self.first.get_or_insert(record.at);
        let due = match self.delay {
            Some(delay) => delay.saturating_mul(self.count),
            None => {
                let recorded = Duration::from_micros(record.at.saturating_sub(first));
                Duration::try_from_secs_f64(recorded.as_secs_f64() / self.speed).unwrap_or(LONGEST)
            }
        };
        self.count = self.count.saturating_add(1);
        // A time that is past costs nothing.
        sleep_until(self.begin + due.min(LONGEST)).await;
    }
}
