//! Measures the client on one job against a broker on loopback, and prints one JSON line.
//!
//! `yardstick PORT MODE COUNT SIZE [SHAPE...]`, where MODE is `pub`, `confirm`, `consume` or
//! `consume-ack`. Consuming reads the queue `fh.COUNT.SIZE`, which a neutral sink streams as fast
//! as the socket accepts it. The code is written as a user would write it.
//!
//! A SHAPE changes how: `tasks=64` uses so many tasks that share one channel (only for publishing),
//! `channels=64` so many channels of one connection, each with a task, `spawned` a task instead of
//! `main`, `current-thread` a runtime of one thread, `tls=CA.PEM` TLS to a `localhost` that this
//! authority signs for (the program `tls-front` stands before the broker then).

use std::{collections::VecDeque, time::Instant};

use amqp_client::{Channel, Confirm, ConsumeOptions, Message, Publisher, Queue};
use tokio::{runtime, task::JoinSet};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// The most unconfirmed publishes, and unacknowledged deliveries; all compared clients use the
/// same.
const IN_FLIGHT: u16 = 1000;

#[derive(Clone)]
struct Job {
    port: u16,
    mode: String,
    /// The number of messages of each task.
    count: u64,
    size: usize,
    tasks: u64,
    channels: u64,
    is_current_thread: bool,
    is_spawned: bool,
    certificate_authority: Option<String>,
}

fn main() -> Result<(), Failure> {
    let job = Job::from_arguments()
        .ok_or("usage: yardstick PORT pub|confirm|consume|consume-ack COUNT SIZE [tasks=N] [channels=N] [spawned] [current-thread] [tls=CA]")?;
    let mut runtime = match job.is_current_thread {
        true => runtime::Builder::new_current_thread(),
        false => runtime::Builder::new_multi_thread(),
    };
    runtime.enable_all().build()?.block_on(job.run())
}

impl Job {
    fn from_arguments() -> Option<Job> {
        let mut arguments = std::env::args().skip(1);
        let mut job = Job {
            port: arguments.next()?.parse().ok()?,
            mode: arguments.next()?,
            count: arguments.next()?.parse().ok()?,
            size: arguments.next()?.parse().ok()?,
            tasks: 1,
            channels: 1,
            is_current_thread: false,
            is_spawned: false,
            certificate_authority: None,
        };
        for shape in arguments {
            match shape.split_once('=') {
                Some(("tasks", tasks)) => job.tasks = tasks.parse().ok()?,
                Some(("channels", channels)) => job.channels = channels.parse().ok()?,
                Some(("tls", authority)) => job.certificate_authority = Some(authority.to_owned()),
                None if shape == "current-thread" => job.is_current_thread = true,
                None if shape == "spawned" => job.is_spawned = true,
                _ => return None,
            }
        }
        job.count /= job.tasks * job.channels;
        Some(job)
    }

    async fn run(self) -> Result<(), Failure> {
        let uri = match &self.certificate_authority {
            Some(authority) => format!("amqps://guest:guest@localhost:{}/?cacertfile={authority}", self.port),
            None => format!("amqp://guest:guest@127.0.0.1:{}/", self.port),
        };
        let connection = amqp_client::connect(&uri).await?;
        let mut channels = Vec::new();
        for _ in 0..self.channels {
            channels.push(connection.open_channel().await?);
        }
        let before = Spent::so_far();
        let mut tasks = JoinSet::new();
        if self.tasks * self.channels == 1 && !self.is_spawned {
            // A user with only one job would run it in `main`.
            self.clone().part(channels.remove(0)).await?;
        } else {
            for channel in channels {
                for _ in 0..self.tasks {
                    tasks.spawn(self.clone().part(channel.clone()));
                }
            }
        }
        while let Some(done) = tasks.join_next().await {
            done??;
        }
        self.report(&before);
        Ok(())
    }

    async fn part(self, channel: Channel) -> Result<(), Failure> {
        match self.mode.as_str() {
            "pub" => self.publish(&channel).await,
            "confirm" => self.publish_confirmed(&channel.publisher().await?).await,
            "consume" => self.consume(&channel, false).await,
            "consume-ack" => self.consume(&channel, true).await,
            other => Err(format!("unknown mode {other:?}").into()),
        }
    }

    fn message(&self) -> Message {
        let mut message = Message::new(vec![b'x'; self.size]).content_type("text/plain");
        message.properties_mut().delivery_mode = Some(1);
        message
    }

    async fn publish(&self, channel: &Channel) -> Result<(), Failure> {
        let message = self.message();
        for _ in 0..self.count {
            channel.publish(("", "bench"), &message).await?;
        }
        // The answer comes after everything before it has been read.
        channel.declare(&Queue::new("bench")).await?;
        Ok(())
    }

    async fn publish_confirmed(&self, publisher: &Publisher) -> Result<(), Failure> {
        let message = self.message();
        let window = (u64::from(IN_FLIGHT) / (self.tasks * self.channels)).max(1) as usize;
        let mut in_flight: VecDeque<Confirm> = VecDeque::with_capacity(window);
        for _ in 0..self.count {
            if in_flight.len() == window
                && let Some(oldest) = in_flight.pop_front()
            {
                oldest.await?;
            }
            in_flight.push_back(publisher.publish(("", "bench"), &message).await?);
        }
        for confirm in in_flight {
            confirm.await?;
        }
        Ok(())
    }

    async fn consume(&self, channel: &Channel, ack: bool) -> Result<(), Failure> {
        let queue = format!("fh.{}.{}", self.count, self.size);
        let options = ConsumeOptions::new().no_ack(!ack).prefetch(if ack { IN_FLIGHT } else { 0 });
        let mut consumer = channel.consume(&queue, options).await?;
        for _ in 0..self.count {
            let delivery = consumer.recv().await.ok_or("the consumer ended")??;
            if delivery.body().len() != self.size {
                return Err(format!("a body of {} bytes", delivery.body().len()).into());
            }
            if ack {
                delivery.ack().await?;
            }
        }
        Ok(())
    }

    fn report(&self, before: &Spent) {
        let spent = Spent::so_far();
        let count = (self.count * self.tasks * self.channels) as f64;
        let (wall, cpu) = ((spent.wall - before.wall).as_secs_f64(), spent.cpu - before.cpu);
        let line = serde_json::json!({
            "client": "ours",
            "mode": self.mode,
            "count": count,
            "size": self.size,
            "wall_s": wall,
            "cpu_s": cpu,
            "msg_per_s": (count / wall).round(),
            "cpu_ns_per_msg": (cpu * 1e9 / count).round(),
            "page_faults": spent.page_faults - before.page_faults,
        });
        println!("{line}");
    }
}

/// The CPU time of all threads of this process, user and system, in seconds.
struct Spent {
    wall: Instant,
    cpu: f64,
    page_faults: u64,
}

impl Spent {
    fn so_far() -> Self {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        let cpu = time.tv_sec as f64 + time.tv_nsec as f64 / 1e9;
        Spent { wall: Instant::now(), cpu, page_faults: page_faults().unwrap_or(0) }
    }
}

/// The minor page faults: the tenth field of `/proc/self/stat`. The second field is in parentheses
/// and may contain spaces.
fn page_faults() -> Option<u64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(7)?.parse().ok()
}
