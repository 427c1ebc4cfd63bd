//! Measures calls to the nodes of a mailbox, and prints one JSON line.
//!
//! `mailbox URL nodes COUNT` runs so many nodes until its standard input ends. `mailbox URL calls
//! COUNT` calls the node `n0` one time after the other, and `mailbox URL all COUNT NODES` calls
//! `NODES` nodes by their names, and waits for all of them each time.
//! `benches/kombu_mailbox_peer.py` does the same with kombu; either calls the nodes of either.

use std::time::{Duration, Instant};

use messaging::{
    Transport,
    mailbox::{Kind, Mailbox, Request},
};
use serde_json::json;
use tokio::io::AsyncReadExt as _;

type Failure = Box<dyn std::error::Error>;

const NAMESPACE: &str = "bench";

/// The time for a call, which none needs.
const TIMEOUT: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let usage = "usage: mailbox URL nodes COUNT | calls COUNT | all COUNT NODES";
    let (Some(url), Some(mode), Some(count)) = (arguments.next(), arguments.next(), arguments.next()) else {
        return Err(usage.into());
    };
    let count = count.parse()?;
    let transport = Transport::connect(&url).await?;
    let mailbox = transport.mailbox(NAMESPACE).kind(Kind::Fanout).open();
    match (mode.as_str(), arguments.next()) {
        ("nodes", None) => serve(&mailbox, count).await?,
        ("calls", None) => call(&mailbox, &mode, count, 1).await?,
        ("all", Some(nodes)) => call(&mailbox, &mode, count, nodes.parse()?).await?,
        _ => return Err(usage.into()),
    }
    transport.close().await?;
    Ok(())
}

async fn serve(mailbox: &Mailbox, count: u32) -> Result<(), Failure> {
    let mut nodes = Vec::new();
    for number in 0..count {
        let echo = |_: Request, arguments: serde_json::Value| async move { Ok::<_, String>(arguments) };
        nodes.push(mailbox.node(format!("n{number}")).handler("echo", echo).start().await?);
    }
    println!("ready");
    tokio::io::stdin().read_to_end(&mut Vec::new()).await?;
    Ok(())
}

async fn call(mailbox: &Mailbox, mode: &str, count: u32, nodes: u32) -> Result<(), Failure> {
    let names: Vec<_> = (0..nodes).map(|number| format!("n{number}")).collect();
    let mut times = Vec::new();
    for number in 0..=count {
        let begun = Instant::now();
        let command = mailbox.command("echo").arguments(&json!({"value": number}))?;
        let mut replies = command.to(names.clone()).timeout(TIMEOUT).call().await?;
        let mut answered = 0;
        while let Some(reply) = replies.recv().await {
            reply?;
            answered += 1;
        }
        if answered != nodes {
            return Err(format!("{answered} of {nodes} nodes answered").into());
        }
        // The first call declares the reply queue.
        if number > 0 {
            times.push(begun.elapsed().as_secs_f64());
        }
    }
    times.sort_by(f64::total_cmp);
    let line = json!({
        "mode": mode,
        "nodes": nodes,
        "calls_per_s": (f64::from(count) / times.iter().sum::<f64>()).round(),
        "p50_ms": times.get(times.len() / 2).map(|time| time * 1e3),
    });
    println!("{line}");
    Ok(())
}
