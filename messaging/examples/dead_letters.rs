//! Shows retries and dead letters on an embedded broker. Nothing needs to be installed, and it
//! takes a second.
//!
//! `RUST_LOG=warn dead_letters` shows, on standard error, what happens after each failure.

use std::{error::Error, process::ExitCode, time::Duration};

use messaging::{Exchange, Incoming, OnFailure, Queue, RetryLater, Transport};
use tokio::sync::mpsc;

mod terminal;

#[tokio::main]
async fn main() -> ExitCode {
    terminal::log("off");
    terminal::end("dead_letters", run().await)
}

async fn run() -> Result<(), Box<dyn Error>> {
    let transport = Transport::connect("memory://dead-letters").await?;
    let (told, mut tell) = mpsc::unbounded_channel();
    let later = RetryLater::after(Duration::from_millis(100)).doubling_up_to(Duration::from_millis(200));
    let worker = transport
        .worker(Queue::durable("payments"))
        .on_failure(OnFailure::Retry(later.limit(2).dead_letter(true)))
        .start(move |payment: Incoming<f64>| {
            let _ = told.send(format!("{} is tried, retries: {}", payment.body(), payment.retries()));
            async move { if *payment.body() > 0.0 { Ok(()) } else { Err("the amount is not positive") } }
        })
        .await?;

    let producer = transport.producer(Exchange::default()).mandatory(true);
    producer.ensure_publish("payments", &9.95).await?;
    producer.ensure_publish("payments", &-1.0).await?;

    let mut dead = transport.consumer(Queue::durable("payments.dead")).start::<f64>().await?;
    let payment = dead.recv().await.ok_or("nothing was set aside")??;
    while let Ok(line) = tell.try_recv() {
        eprintln!("{line}");
    }
    eprintln!("{} is set aside, with these headers:", payment.body());
    for entry in payment.properties()?.headers.iter().flat_map(|headers| headers.iter()) {
        eprintln!("  {entry:?}");
    }
    payment.ack().await?;
    worker.stop().await;
    transport.close().await?;
    Ok(())
}
