//! `amqp pub`

mod bodies;
mod filled;

use std::{path::PathBuf, time::Duration};

use amqp_client::{Channel, Message, Properties, Publisher, Route};
use bytes::Bytes;
use clap::Args;
use tokio::time::{Instant, sleep_until};

use self::{
    bodies::{Bodies, files_of},
    filled::{filled, template},
};
use crate::{
    connection::{
        arguments::ConnectionArguments,
        target::{Target, close},
    },
    context::Context,
    error::Error,
    exit::Exit,
    message::{outcomes::Outcomes, properties_arguments::PropertiesArguments},
    output::{progress::Progress, template::Template},
};

/// Publishes messages, and waits until the broker has confirmed them
///
/// Each BODY is a message; without any, the message is all of standard input. If the broker nacks
/// or returns one, the others are published nevertheless, and the exit code is 5.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// The messages
    #[arg(value_name = "BODY")]
    bodies: Vec<String>,

    /// The exchange; the default one leads to the queue that the routing key names
    #[arg(short, long, default_value = "", hide_default_value = true)]
    exchange: String,

    /// The routing key; with the default exchange, the queue
    #[arg(short, long, default_value = "", hide_default_value = true, value_name = "KEY")]
    routing_key: String,

    /// A message, as BODY
    #[arg(short, long, value_name = "BODY", conflicts_with_all = ["bodies", "lines", "files", "dir"])]
    body: Option<String>,

    /// Makes each line of standard input a message, without its end
    #[arg(short, long, conflicts_with_all = ["bodies", "files", "dir"])]
    lines: bool,

    /// Makes a file a message; may be repeated
    #[arg(long = "file", value_name = "FILE", conflicts_with_all = ["bodies", "dir"])]
    files: Vec<PathBuf>,

    /// Makes each file of a folder a message, in the order of their names
    #[arg(long, value_name = "DIR", conflicts_with = "bodies")]
    dir: Option<PathBuf>,

    /// Publishes the messages so many times
    #[arg(short, long, value_name = "TIMES", default_value_t = 1, conflicts_with = "lines")]
    count: u64,

    /// Publishes at most so many messages a second
    #[arg(long, value_name = "MESSAGES", value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,

    /// Fills in {{count}}, {{time}}, {{milliseconds}}, {{uuid}} and {{random N}} in bodies and
    /// routing key
    #[arg(short = 'T', long)]
    template: bool,

    /// Has a message that no queue takes returned: exit code 5
    #[arg(short, long)]
    mandatory: bool,

    /// Does not ask the broker to confirm each message. It is only known then that the broker has
    /// read them
    #[arg(long, conflicts_with = "mandatory")]
    no_confirm: bool,

    /// How long to wait for a broker that does not accept or confirm a message
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    timeout: u64,

    #[command(flatten)]
    properties: PropertiesArguments,

    #[command(flatten)]
    connection: ConnectionArguments,
}

pub(crate) async fn run(arguments: Arguments, context: &Context) -> Result<Exit, Error> {
    let properties = arguments.properties.properties()?;
    let key = arguments.template.then(|| template(&arguments.routing_key)).transpose()?;
    let rounds = Rounds::new(&arguments)?;
    let target = Target::of(&arguments.connection)?;
    let (connection, channel) = context.interrupt.or(target.open_channel()).await?;
    let sender = Sender::new(&channel, &arguments, key, properties).await?;
    let published = publish(sender, rounds, &arguments, context).await;
    if published.is_ok() && arguments.no_confirm {
        // The answer to a call comes after all that the broker had to say to the publishes.
        channel.qos(0).await.map_err(Error::broker("publish"))?;
    }
    close(&connection).await;
    published
}

async fn publish(
    mut sender: Sender<'_>,
    mut rounds: Rounds,
    arguments: &Arguments,
    context: &Context,
) -> Result<Exit, Error> {
    let mut pace = arguments.rate.map(Pace::new);
    let mut progress = Progress::new(rounds.total(), false);
    let mut number = 0;
    loop {
        let next = async {
            if let Some(pace) = &mut pace {
                pace.wait().await;
            }
            rounds.next().await
        };
        let next = match context.interrupt.or(next).await {
            Ok(next) => next,
            Err(Error::Interrupted) => None,
            Err(error) => {
                // What has been published so far still counts.
                sender.outcomes.all().await?;
                return Err(error);
            }
        };
        let Some(body) = next else { break };
        number += 1;
        sender.publish(number, body).await?;
        progress.show(number);
    }
    sender.outcomes.all().await?;
    if context.interrupt.has_come() { Err(Error::Interrupted) } else { Ok(Exit::Done) }
}

/// Publishes one message after the other, with or without confirms.
struct Sender<'a> {
    channel: &'a Channel,
    publisher: Option<Publisher>,
    arguments: &'a Arguments,
    key: Option<Template>,
    message: Message,
    outcomes: Outcomes,
}

impl<'a> Sender<'a> {
    async fn new(
        channel: &'a Channel,
        arguments: &'a Arguments,
        key: Option<Template>,
        properties: Properties,
    ) -> Result<Self, Error> {
        let deadline = Duration::from_secs(arguments.timeout);
        let publisher = match arguments.no_confirm {
            true => None,
            false => {
                let publisher = channel.publisher().await.map_err(Error::broker("turn confirms on"))?;
                Some(publisher.with_timeout(deadline))
            }
        };
        let message = Message::with_properties(Bytes::new(), properties);
        Ok(Sender { channel, publisher, arguments, key, message, outcomes: Outcomes::new(deadline) })
    }

    async fn publish(&mut self, number: u64, body: Bytes) -> Result<(), Error> {
        let failed = || Error::broker(format!("publish message {number}"));
        let body = match self.arguments.template {
            true => {
                let text = std::str::from_utf8(&body);
                let text =
                    text.map_err(|_| Error::Usage(format!("message {number} is no template: not UTF-8")))?;
                filled(&template(text)?, number)
            }
            false => body,
        };
        *self.message.body_mut() = body;
        let key = self.key.as_ref().map(|key| filled(key, number));
        let key = key.as_deref().and_then(|key| std::str::from_utf8(key).ok());
        let route = Route::new(&self.arguments.exchange, key.unwrap_or(&self.arguments.routing_key))
            .mandatory(self.arguments.mandatory);
        match &self.publisher {
            Some(publisher) => {
                let confirm = publisher.publish(route, &self.message).await.map_err(failed())?;
                self.outcomes.add(number, confirm).await
            }
            None => {
                let published = self.channel.publish(route, &self.message).await;
                published.map(drop).map_err(failed())
            }
        }
    }
}

/// The bodies, as many times as they are wanted.
struct Rounds {
    bodies: Bodies,
    /// The messages that each further round publishes again.
    again: Vec<PathBuf>,
    given: Vec<String>,
    /// All of standard input, for further rounds.
    input: Option<Bytes>,
    left: u64,
    each: Option<u64>,
}

impl Rounds {
    fn new(arguments: &Arguments) -> Result<Self, Error> {
        let given: Vec<String> = arguments.bodies.iter().chain(&arguments.body).cloned().collect();
        let files = match &arguments.dir {
            Some(folder) => files_of(folder)?,
            None => arguments.files.clone(),
        };
        let is_of_files = arguments.dir.is_some() || !files.is_empty();
        let each = match (arguments.lines, is_of_files) {
            (true, _) => None,
            (false, true) => Some(files.len() as u64),
            (false, false) => Some(given.len().max(1) as u64),
        };
        let bodies = match (arguments.lines, is_of_files) {
            (true, _) => Bodies::lines(),
            (false, true) => Bodies::files(files.clone()),
            (false, false) if given.is_empty() => Bodies::input(),
            (false, false) => Bodies::given(&given),
        };
        Ok(Rounds { bodies, again: files, given, input: None, left: arguments.count, each })
    }

    fn total(&self) -> Option<u64> {
        self.each.map(|each| each.saturating_mul(self.left))
    }

    async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            if self.left == 0 {
                return Ok(None);
            }
            if let Some(body) = self.bodies.next().await? {
                if matches!(self.bodies, Bodies::Input(_)) {
                    self.input = Some(body.clone());
                }
                return Ok(Some(body));
            }
            self.left -= 1;
            self.bodies = match &self.input {
                _ if self.each.is_none_or(|each| each == 0) => return Ok(None),
                Some(input) => Bodies::Given(vec![input.clone()].into_iter()),
                None if self.given.is_empty() => Bodies::files(self.again.clone()),
                None => Bodies::given(&self.given),
            };
        }
    }
}

/// The times at which messages are due at a rate.
struct Pace {
    begin: Instant,
    rate: u32,
    count: u64,
}

impl Pace {
    fn new(rate: u32) -> Self {
        Pace { begin: Instant::now(), rate, count: 0 }
    }

    /// Waits until the next message is due.
    async fn wait(&mut self) {
        let due = Duration::from_secs_f64(self.count as f64 / f64::from(self.rate));
        self.count += 1;
        sleep_until(self.begin + due).await;
    }
}
