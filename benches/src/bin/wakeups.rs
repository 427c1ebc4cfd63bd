//! Measures how long an idle consumer takes to have a message, and prints one JSON line.
//!
//! `wakeups URL COUNT` publishes one message after the other on a connection of its own, each a
//! while after the consumer has settled the one before, and measures from the call of the publish
//! to the message. `benches/kombu_wakeups_peer.py` does the same with kombu.

use std::time::{Duration, Instant};

use messaging::{Exchange, Queue, Transport};
use serde_json::json;
use tokio::time::sleep;

const QUEUE: &str = "bench-wakeups";

/// How long the consumer is idle before each message.
const IDLE: Duration = Duration::from_millis(5);

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(url), Some(count)) = (arguments.next(), arguments.next()) else {
        return Err("usage: wakeups URL COUNT".into());
    };
    let count: usize = count.parse()?;
    let (publishing, consuming) = (Transport::connect(&url).await?, Transport::connect(&url).await?);
    let mut consumer = consuming.consumer(Queue::new(QUEUE)).prefetch(1).start::<usize>().await?;
    let producer = publishing.producer(Exchange::default());
    let mut times = Vec::with_capacity(count);
    for number in 0..=count {
        sleep(IDLE).await;
        let begun = Instant::now();
        let published = producer.ensure_publish(QUEUE, &number);
        let (published, delivery) = tokio::join!(published, consumer.recv());
        let time = begun.elapsed().as_secs_f64();
        published?;
        let delivery = delivery.ok_or("the consumer ended")??;
        assert_eq!(delivery.body(), &number);
        delivery.ack().await?;
        // The first has more to do.
        if number > 0 {
            times.push(time);
        }
    }
    times.sort_by(f64::total_cmp);
    let part = |share: usize| times.get(times.len() * share / 100).map(|time| time * 1e6);
    println!("{}", json!({"count": count, "p50_us": part(50), "p99_us": part(99)}));
    publishing.close().await?;
    consuming.close().await?;
    Ok(())
}
