//! Measures a broker's peak memory when its limit is low and clients make it hold much.
//!
//! `memory-peaks BROKER [--limit MIB] [--deadline SECONDS] [--cap MIB] [NAME...]`, where BROKER is
//! the path of an amqp-broker program or `rabbitmq`, and NAME a part of a flood's name. For each
//! flood the broker is started anew with the limit. The result is a table in Markdown.
//!
//! Peaks are of resident memory as the kernel counts it. A broker that takes more than `--cap` is
//! killed.

use std::{
    io,
    time::{Duration, Instant},
};

use amqp_codec::Properties;
use benches::hostile::{Failure, Options, Running, Watch};
use tests::{
    RawClient,
    hostile::{Flood, Flooded},
};
use tokio::time::{sleep, timeout};

/// How long a connection may accept nothing before it is abandoned.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long an uninvolved client is waited for: longer than a broker may take to detect a stalled
/// connection.
const PATIENCE_OF_OTHERS: Duration = Duration::from_secs(45);
/// The body of that client's publish, in octets.
const BODY: usize = 300_000;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let options = Options::read()?;
    let wanted = options.limit + options.limit / 4 + (64 << 20);
    println!(
        "| limit {} MiB, wanted {} MiB | began | peak | lives | took | its clients | another |",
        options.limit >> 20,
        wanted >> 20
    );
    println!("|---|---|---|---|---|---|---|");
    for flood in Flood::ALL {
        let name = flood.to_string();
        if options.wants(&name) {
            let durable = matches!(flood, Flood::DurableHeaders { .. });
            let broker = options.subject.start_limited(options.limit, durable).await?;
            println!("| {name} | {} |", measure(&options, &broker, flood).await);
        }
    }
    Ok(())
}

async fn measure(options: &Options, broker: &Running, flood: Flood) -> String {
    let watch = Watch::over(broker.pid(), options.cap);
    let address = broker.address();
    let before = watch.seen().usage.peak >> 20;
    let began = Instant::now();
    let flooding = async {
        let flooded = flood.run(&address, "/", PATIENCE).await;
        // The last octets may not have arrived yet.
        sleep(Duration::from_millis(200)).await;
        let other = match flood {
            Flood::UnfinishedBodies { .. } => publish_beside(&address).await,
            _ => String::new(),
        };
        watch.rest().await;
        (flooded, other)
    };
    let (flooded, other) = tokio::select! {
        done = timeout(options.deadline, flooding) => match done {
            Ok((flooded, other)) => (describe(flooded), other),
            Err(_) => ("not finished".into(), String::new()),
        },
        () = watch.end() => (String::new(), String::new()),
    };
    let seen = watch.seen();
    let lives = match (seen.runs, seen.killed) {
        (true, _) => "yes".into(),
        (false, true) => format!("killed at {} MiB", options.cap >> 20),
        (false, false) => "died".into(),
    };
    let took = began.elapsed().as_secs_f64();
    format!("{before} MiB | {} MiB | {lives} | {took:.1} s | {flooded} | {other}", seen.usage.peak >> 20)
}

fn describe(flooded: io::Result<Flooded>) -> String {
    match flooded {
        Ok(Flooded { stalled, closed, clients }) => {
            format!("{} sent all, {stalled} held, {closed} closed", clients.len() - stalled - closed)
        }
        Err(error) => error.to_string(),
    }
}

/// Publishes as a client that has no part in the flood.
async fn publish_beside(address: &str) -> String {
    let began = Instant::now();
    let publishing = async {
        let mut client = RawClient::connect(address, "/").await?;
        client.select_confirms().await?;
        client.publish("", "q", &Properties::default(), &vec![b'x'; BODY]).await?;
        client.confirmed(1).await
    };
    let end = match timeout(PATIENCE_OF_OTHERS, publishing).await {
        Ok(Ok(())) => "confirmed".into(),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "neither confirmed nor closed".into(),
    };
    format!("{end} after {:.1} s", began.elapsed().as_secs_f64())
}
