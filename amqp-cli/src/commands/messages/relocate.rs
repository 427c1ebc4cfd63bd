//! `amqp move`

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use amqp_client::{
    Acker, Channel, Confirm, Confirmation, ConsumeOptions, Consumer, Delivery, Message, Publisher, Queue,
    Route,
};
use clap::Args;
use futures_util::{FutureExt as _, StreamExt as _};
use serde::Serialize;
use tokio::time::timeout;

use crate::{
    connection::{
        arguments::ConnectionArguments,
        target::{Target, close},
    },
    context::Context,
    error::Error,
    exit::Exit,
    output::{arguments::OutputArguments, progress::Progress, screen::Screen},
};

/// Moves the messages of a queue to another queue, or to an exchange, and ends when it is empty
///
/// A message leaves the first queue only when the broker has confirmed that it is in the second, so
/// that none is lost however this ends. If it is killed, those under way, at most --window, are in
/// both; the first queue flags them as redelivered, and the next run says how many it took so.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// The queue to empty
    from: String,

    /// The queue to fill
    #[arg(required_unless_present = "exchange")]
    to: Option<String>,

    /// Publishes to an exchange instead, by each message's own routing key or that of --routing-key
    #[arg(short, long, conflicts_with = "to")]
    exchange: Option<String>,

    /// The routing key for the exchange, instead of that of each message
    #[arg(short, long, value_name = "KEY", requires = "exchange")]
    routing_key: Option<String>,

    /// Moves at most so many messages
    #[arg(short = 'n', visible_short_alias = 'c', long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,

    /// How many messages are under way at once
    #[arg(short, long, value_name = "NUMBER", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..))]
    window: u16,

    /// How long to wait for a broker that does not accept or confirm a message
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    timeout: u64,

    #[command(flatten)]
    output: OutputArguments,

    #[command(flatten)]
    connection: ConnectionArguments,
}

/// The output at the end.
#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Moved {
    /// The number of messages that are in the second queue and no more in the first.
    moved: u64,
    /// How many of them the first queue had flagged as redelivered: an earlier run may have moved
    /// them already.
    redelivered: u64,
}

pub(crate) async fn run(arguments: Arguments, context: &Context) -> Result<Exit, Error> {
    let mut screen = Screen::new(&arguments.output);
    let target = Target::of(&arguments.connection)?;
    let (connection, channel) = context.interrupt.or(target.open_channel()).await?;
    let total = messages_in(&channel, &arguments.from).await?;
    let mut moving = Moving::begin(channel, &arguments).await?;
    let total = arguments.limit.map_or(total.into(), |limit| limit.min(total.into()));
    let ended = moving.all(&arguments, total, context).await;
    let moved = moving.moved;
    let text = format!("{} messages moved, {} of them redelivered", moved.moved, moved.redelivered);
    screen.object(&moved, &text)?;
    close(&connection).await;
    ended.map(|()| if context.interrupt.has_come() { Exit::Interrupted } else { Exit::Done })
}

/// Messages on their way from one queue to the other.
struct Moving {
    channel: Channel,
    consumer: Consumer,
    publisher: Publisher,
    deadline: Duration,
    /// Those that are published and not confirmed, in their order.
    open: VecDeque<Open>,
    /// Those that are confirmed, while an ack would have the broker send more than the limit.
    confirmed: Vec<Acker>,
    /// The number of messages that may be acknowledged at once without that.
    free: u64,
    taken: u64,
    moved: Moved,
}

struct Open {
    acker: Acker,
    confirm: Confirm,
    is_redelivered: bool,
}

impl Moving {
    async fn begin(channel: Channel, arguments: &Arguments) -> Result<Self, Error> {
        let deadline = Duration::from_secs(arguments.timeout);
        let publisher = channel.publisher().await.map_err(Error::broker("turn confirms on"))?;
        let publisher = publisher.with_timeout(deadline);
        // What is beyond the limit must not even be flagged as redelivered.
        let limit = arguments.limit.and_then(|limit| limit.try_into().ok()).unwrap_or(u16::MAX);
        let options = ConsumeOptions::new().prefetch(arguments.window.min(limit));
        let what = format!("consume from queue {:?}", arguments.from);
        let consumer = channel.consume(&arguments.from, options).await.map_err(Error::broker(what))?;
        let free = arguments.limit.map_or(u64::MAX, |limit| limit.saturating_sub(arguments.window.into()));
        let (open, confirmed, moved) = Default::default();
        Ok(Moving { channel, consumer, publisher, deadline, open, confirmed, free, taken: 0, moved })
    }

    /// Moves until the queue is empty, the limit is reached, or a signal comes. What is under way
    /// is finished.
    async fn all(&mut self, arguments: &Arguments, total: u64, context: &Context) -> Result<(), Error> {
        let mut progress = Progress::new(Some(total), false);
        while arguments.limit.is_none_or(|limit| self.taken < limit) && !context.interrupt.has_come() {
            let Some(delivery) = self.next(arguments, context).await? else { break };
            self.publish(delivery, arguments).await?;
            progress.show(self.moved.moved);
        }
        while !self.open.is_empty() {
            self.settle().await?;
        }
        self.consumer.cancel().await.map_err(Error::broker("end consuming"))?;
        for acker in self.confirmed.drain(..) {
            acker.ack().await.map_err(Error::broker("acknowledge a message"))?;
        }
        Ok(())
    }

    /// Returns the next message, or `None` when there is none or a signal came. While no message
    /// is here, those under way are settled, which makes room for more.
    async fn next(&mut self, arguments: &Arguments, context: &Context) -> Result<Option<Delivery>, Error> {
        let mut was_empty = false;
        let begin = Instant::now();
        loop {
            if let Some(delivery) = self.consumer.next().now_or_never() {
                return delivery.transpose().map_err(Error::broker("receive messages"));
            }
            if !self.open.is_empty() {
                self.settle().await?;
                was_empty = false;
                continue;
            }
            if context.interrupt.has_come() {
                return Ok(None);
            }
            // A message that the broker has sent may still be on its way when it counts none, but
            // has arrived with its answer to a second question.
            let is_empty = messages_in(&self.channel, &arguments.from).await? == 0;
            if is_empty && was_empty {
                let last = self.consumer.next().now_or_never().flatten();
                return last.transpose().map_err(Error::broker("receive messages"));
            }
            if !is_empty {
                // There is a message for somebody: it comes here, or to another consumer.
                let soon = timeout(Duration::from_millis(100), self.consumer.next()).await;
                if let Ok(delivery) = soon {
                    return delivery.transpose().map_err(Error::broker("receive messages"));
                }
            }
            was_empty = is_empty;
            if begin.elapsed() > self.deadline {
                let why = format!("queue {:?} has messages, but the broker sends none", arguments.from);
                return Err(Error::Nothing(why));
            }
        }
    }

    async fn publish(&mut self, delivery: Delivery, arguments: &Arguments) -> Result<(), Error> {
        self.taken += 1;
        let is_redelivered = delivery.redelivered();
        let message =
            Message::with_encoded_properties(delivery.body().clone(), delivery.encoded_properties());
        let confirm = {
            let key = delivery.routing_key();
            let (exchange, key) = match (&arguments.exchange, &arguments.to) {
                (Some(exchange), _) => (exchange.as_str(), arguments.routing_key.as_deref().unwrap_or(&key)),
                (None, to) => ("", to.as_deref().unwrap_or_default()),
            };
            let route = Route::new(exchange, key).mandatory(true);
            self.publisher.publish(route, &message).await.map_err(Error::broker("publish a message"))?
        };
        let (_, acker) = delivery.split();
        self.open.push_back(Open { acker, confirm, is_redelivered });
        if self.open.len() >= arguments.window.into() { self.settle().await } else { Ok(()) }
    }

    /// Waits for the oldest confirm, and then takes the message from the first queue.
    async fn settle(&mut self) -> Result<(), Error> {
        let Some(Open { acker, confirm, is_redelivered }) = self.open.pop_front() else { return Ok(()) };
        let number = self.moved.moved + 1;
        let after = self.deadline;
        let answer = timeout(after, confirm).await.map_err(|_| {
            let source = amqp_client::Error::CallTimeout { method: "basic.publish", after };
            Error::broker("publish a message")(source)
        })?;
        let why = match answer.map_err(Error::broker("publish a message"))? {
            Confirmation::Ack => {
                match self.moved.moved < self.free {
                    true => acker.ack().await.map_err(Error::broker("acknowledge a message"))?,
                    false => self.confirmed.push(acker),
                }
                self.moved.moved += 1;
                self.moved.redelivered += u64::from(is_redelivered);
                return Ok(());
            }
            Confirmation::Nack => "it was nacked".to_owned(),
            Confirmation::Returned(returned) => {
                format!("it was returned: {} {}", returned.code().0, returned.text())
            }
        };
        // It stays in the first queue, as do those behind it when the connection ends.
        acker.nack(true).await.map_err(Error::broker("return a message"))?;
        Err(Error::NotTaken { number, why })
    }
}

/// The number of messages that wait in a queue.
async fn messages_in(channel: &Channel, queue: &str) -> Result<u32, Error> {
    let declared = channel.declare(Queue::new(queue).passive(true)).await;
    Ok(declared.map_err(Error::broker(format!("count the messages of queue {queue:?}")))?.messages)
}
