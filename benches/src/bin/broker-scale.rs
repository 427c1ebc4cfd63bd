//! Measures a broker's resident memory, by `/proc/PID/status`, while it holds much; also prints
//! rates.
//!
//! `broker-scale URI PID SUBCOMMAND` works with any AMQP 0-9-1 broker on this machine:
//!
//! - `hold COUNT SIZE`: publishes so many messages to one queue and purges it, then publishes again
//!   and consumes
//! - `connections COUNT`: opens so many connections, each with a channel, an exclusive queue and a
//!   consumer
//! - `queues COUNT MESSAGES`: declares so many queues with a consumer each on one connection, and
//!   publishes messages to them in turn
//! - `fanout QUEUES COUNT SIZE`: publishes so many messages through a fanout exchange to so many
//!   queues, and consumes them

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use amqp_client::{
    Binding, Channel, Confirm, Connection, ConsumeOptions, DeleteOptions, Exchange, Message, Publisher,
    Queue, connect,
};
use tokio::time::sleep;

type Failure = Box<dyn std::error::Error + Send + Sync>;

const USAGE: &str = "usage: broker-scale URI PID hold COUNT SIZE | connections COUNT | queues COUNT MESSAGES | fanout QUEUES COUNT SIZE";

/// The most unconfirmed publishes.
const IN_FLIGHT: usize = 5000;

/// How long a broker may take to free memory before it is measured.
const PAUSE: Duration = Duration::from_secs(5);

struct Broker {
    uri: String,
    pid: u32,
    began: Instant,
    /// The memory at the beginning, in kilobytes.
    before: u64,
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [uri, pid, subcommand, numbers @ ..] = &arguments[..] else { return Err(USAGE.into()) };
    let numbers = numbers.iter().map(|number| number.parse()).collect::<Result<Vec<usize>, _>>()?;
    let pid = pid.parse()?;
    let broker = Broker { uri: uri.clone(), pid, began: Instant::now(), before: resident(pid)? };
    match (subcommand.as_str(), &numbers[..]) {
        ("hold", &[count, size]) => hold(&broker, count, size).await,
        ("connections", &[count]) => connections(&broker, count).await,
        ("queues", &[count, messages]) => queues(&broker, count, messages).await,
        ("fanout", &[queues, count, size]) => fanout(&broker, queues, count, size).await,
        _ => Err(USAGE.into()),
    }
}

/// The memory of a process, in kilobytes.
fn resident(pid: u32) -> Result<u64, Failure> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

impl Broker {
    async fn open(&self) -> Result<(Connection, Channel), Failure> {
        let connection = connect(&self.uri).await?;
        let channel = connection.open_channel().await?;
        Ok((connection, channel))
    }

    /// Prints what is held, and how much memory one of `count` takes.
    fn report(&self, what: &str, count: usize) -> Result<(), Failure> {
        let now = resident(self.pid)?;
        let each = (now as f64 - self.before as f64) * 1024.0 / count as f64;
        let seconds = self.began.elapsed().as_secs_f64();
        println!(
            "{seconds:>7.1} s  {:>9.1} MiB  {each:>9.0} bytes each of {count}  {what}",
            now as f64 / 1024.0
        );
        Ok(())
    }
}

fn message(size: usize) -> Message {
    let mut message = Message::new(vec![b'x'; size]);
    message.properties_mut().delivery_mode = Some(1);
    message
}

/// Publishes with confirms; `key` returns the routing key of a message by its number.
async fn publish(
    publisher: &Publisher,
    exchange: &str,
    key: impl Fn(usize) -> String,
    (count, size): (usize, usize),
) -> Result<(), Failure> {
    let message = message(size);
    let mut in_flight: VecDeque<Confirm> = VecDeque::with_capacity(IN_FLIGHT);
    for number in 0..count {
        if in_flight.len() == IN_FLIGHT
            && let Some(oldest) = in_flight.pop_front()
        {
            oldest.await?;
        }
        in_flight.push_back(publisher.publish((exchange, &key(number)), &message).await?);
    }
    for confirm in in_flight {
        confirm.await?;
    }
    Ok(())
}

/// Consumes so many messages of this size, without acknowledgements.
async fn consume(channel: &Channel, queue: &str, (count, size): (usize, usize)) -> Result<(), Failure> {
    let mut consumer = channel.consume(queue, ConsumeOptions::new().no_ack(true)).await?;
    for _ in 0..count {
        let delivery = consumer.recv().await.ok_or("the consumer ended")??;
        if delivery.body().len() != size {
            return Err(format!("a body of {} bytes", delivery.body().len()).into());
        }
    }
    consumer.cancel().await?;
    Ok(())
}

async fn hold(broker: &Broker, count: usize, size: usize) -> Result<(), Failure> {
    let (_connection, channel) = broker.open().await?;
    let publisher = channel.publisher().await?;
    const QUEUE: &str = "scale.hold";
    channel.declare(&Queue::new(QUEUE)).await?;
    for consumed in [false, true] {
        let began = Instant::now();
        publish(&publisher, "", |_| QUEUE.to_owned(), (count, size)).await?;
        let rate = count as f64 / began.elapsed().as_secs_f64();
        broker.report(&format!("held, published at {rate:.0} a second"), count)?;
        let began = Instant::now();
        if consumed {
            consume(&channel, QUEUE, (count, size)).await?;
        } else {
            channel.purge(QUEUE).await?;
        }
        let how = if consumed { "consumed" } else { "purged" };
        broker.report(&format!("{how} in {:.2} s", began.elapsed().as_secs_f64()), count)?;
        sleep(PAUSE).await;
        broker.report(&format!("{how}, 5 s later"), count)?;
    }
    channel.delete_queue(QUEUE, DeleteOptions::new()).await?;
    Ok(())
}

async fn connections(broker: &Broker, count: usize) -> Result<(), Failure> {
    let mut clients = Vec::with_capacity(count);
    for _ in 0..count {
        let (connection, channel) = broker.open().await?;
        clients.push((connection, channel));
    }
    broker.report("connections with a channel each", count)?;
    let mut consumers = Vec::with_capacity(count);
    for (number, (_, channel)) in clients.iter().enumerate() {
        let queue = format!("scale.connection.{number}");
        channel.declare(&Queue::new(&queue).exclusive(true)).await?;
        consumers.push(channel.consume(&queue, ConsumeOptions::new().no_ack(true)).await?);
    }
    broker.report("each with an exclusive queue and a consumer", count)?;
    let message = message(1024);
    for round in 1..=10 {
        for (number, (_, channel)) in clients.iter().enumerate() {
            // It publishes to the queue of the next connection.
            let key = format!("scale.connection.{}", (number + 1) % count);
            channel.publish(("", &key), &message).await?;
        }
        for consumer in &mut consumers {
            consumer.recv().await.ok_or("the consumer ended")??;
        }
        if round == 10 {
            broker.report("each has published and been delivered 10 messages of 1 KiB", count)?;
        }
    }
    for (connection, _) in clients {
        connection.close().await?;
    }
    sleep(PAUSE).await;
    broker.report("closed, 5 s later", count)
}

async fn queues(broker: &Broker, count: usize, messages: usize) -> Result<(), Failure> {
    let (_connection, channel) = broker.open().await?;
    let publisher = channel.publisher().await?;
    let name = |number: usize| format!("scale.queue.{}", number % count);
    for number in 0..count {
        channel.declare(&Queue::new(name(number)).exclusive(true)).await?;
    }
    broker.report("queues", count)?;
    let mut consumers = Vec::with_capacity(count);
    for number in 0..count {
        consumers.push(channel.consume(&name(number), ConsumeOptions::new().no_ack(true)).await?);
    }
    broker.report("each with a consumer", count)?;
    let began = Instant::now();
    let publishing = publish(&publisher, "", name, (messages, 16));
    let receiving = async {
        for number in 0..messages {
            let Some(consumer) = consumers.get_mut(number % count) else { break };
            consumer.recv().await.ok_or("the consumer ended")??;
        }
        Ok::<_, Failure>(())
    };
    tokio::try_join!(publishing, receiving)?;
    let rate = messages as f64 / began.elapsed().as_secs_f64();
    broker.report(&format!("{messages} messages through all in turn, {rate:.0} a second"), count)
}

async fn fanout(broker: &Broker, queues: usize, count: usize, size: usize) -> Result<(), Failure> {
    let (_connection, channel) = broker.open().await?;
    let publisher = channel.publisher().await?;
    const EXCHANGE: &str = "scale.fanout";
    channel.declare(&Exchange::fanout(EXCHANGE)).await?;
    let name = |number: usize| format!("scale.fanout.{number}");
    for number in 0..queues {
        channel.declare(&Queue::new(name(number)).exclusive(true)).await?;
        channel.bind(Binding::new(&name(number), EXCHANGE)).await?;
    }
    let began = Instant::now();
    publish(&publisher, EXCHANGE, |_| String::new(), (count, size)).await?;
    let seconds = began.elapsed().as_secs_f64();
    broker.report(&format!("messages in {queues} queues, put there in {seconds:.2} s"), count)?;
    let began = Instant::now();
    for number in 0..queues {
        consume(&channel, &name(number), (count, size)).await?;
    }
    let rate = (count * queues) as f64 / began.elapsed().as_secs_f64();
    channel.delete_exchange(EXCHANGE, DeleteOptions::new()).await?;
    broker.report(&format!("consumed from all queues, {rate:.0} a second"), count)
}
