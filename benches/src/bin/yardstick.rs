//! Times the client on one job against a broker on loopback and prints one JSON line.
//!
//! `yardstick PORT MODE COUNT SIZE`, MODE being `pub`, `confirm`, `consume` or `consume-ack`. Consuming reads the queue
//! `fh.COUNT.SIZE`, which a neutral sink streams as fast as the socket takes it. Written as a user would write it.

use std::{collections::VecDeque, time::Instant};

use amqp_client::{Channel, Confirm, ConsumeOptions, Message, Queue};

type Failure = Box<dyn std::error::Error>;

/// Unconfirmed publishes, and unacknowledged deliveries: the same for every client compared.
const IN_FLIGHT: u16 = 1000;

struct Job {
    port: u16,
    mode: String,
    count: u64,
    size: usize,
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let job =
        Job::from_arguments().ok_or("usage: yardstick PORT pub|confirm|consume|consume-ack COUNT SIZE")?;
    let uri = format!("amqp://guest:guest@127.0.0.1:{}/", job.port);
    let connection = amqp_client::connect(&uri).await?;
    let channel = connection.open_channel().await?;
    let (wall, cpu) = (Instant::now(), cpu_seconds());
    match job.mode.as_str() {
        "pub" => job.publish(&channel).await?,
        "confirm" => job.publish_confirmed(&channel).await?,
        "consume" => job.consume(&channel, false).await?,
        "consume-ack" => job.consume(&channel, true).await?,
        other => return Err(format!("unknown mode {other:?}").into()),
    }
    job.report(wall.elapsed().as_secs_f64(), cpu_seconds() - cpu);
    Ok(())
}

impl Job {
    fn from_arguments() -> Option<Job> {
        let mut arguments = std::env::args().skip(1);
        Some(Job {
            port: arguments.next()?.parse().ok()?,
            mode: arguments.next()?,
            count: arguments.next()?.parse().ok()?,
            size: arguments.next()?.parse().ok()?,
        })
    }

    fn message(&self) -> Message {
        let mut message = Message::new(vec![b'x'; self.size]).content_type("text/plain");
        message.properties_mut().delivery_mode = Some(1);
        message
    }

    async fn publish(&self, channel: &Channel) -> Result<(), Failure> {
        let message = self.message();
        for _ in 0..self.count {
            channel.publish("", "bench", &message).await?;
        }
        // Answered after everything before it has been read.
        channel.declare(&Queue::new("bench")).await?;
        Ok(())
    }

    async fn publish_confirmed(&self, channel: &Channel) -> Result<(), Failure> {
        let message = self.message();
        let publisher = channel.publisher().await?;
        let mut in_flight: VecDeque<Confirm> = VecDeque::with_capacity(IN_FLIGHT.into());
        for _ in 0..self.count {
            if in_flight.len() == usize::from(IN_FLIGHT)
                && let Some(oldest) = in_flight.pop_front()
            {
                oldest.await?;
            }
            in_flight.push_back(publisher.publish("", "bench", &message).await?);
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

    fn report(&self, wall: f64, cpu: f64) {
        let count = self.count as f64;
        let line = serde_json::json!({
            "client": "ours",
            "mode": self.mode,
            "count": self.count,
            "size": self.size,
            "wall_s": wall,
            "cpu_s": cpu,
            "msg_per_s": (count / wall).round(),
            "cpu_ns_per_msg": (cpu * 1e9 / count).round(),
        });
        println!("{line}");
    }
}

/// CPU time of this process, user and system.
fn cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
