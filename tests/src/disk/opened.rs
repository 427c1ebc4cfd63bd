//! Opens a folder with the real program, and looks what is in it.

use std::{io, path::Path, time::Duration};

use amqp_client::{Channel, Confirmation, Connection, ConsumeOptions, Exchange, Message, Queue, Result};
use tokio::time::timeout;

use super::{
    body::number,
    history::{FoundQueue, History, compare},
    load::{EXCHANGE, QUEUES, connect, queue_name},
    program::{Tools, VHOSTS},
};

const PATIENCE: Duration = Duration::from_secs(60);

/// The outcome of opening a folder.
#[derive(Debug, Default)]
pub(super) struct Opened {
    /// Set when the program refused it.
    pub(super) is_refused: bool,
    /// All that is wrong with it.
    pub(super) wrong: Vec<String>,
    pub(super) log: String,
}

/// Opens a folder, and compares it with the history up to this time.
pub(super) async fn open(tools: &Tools, folder: &Path, history: &History, time: u64) -> io::Result<Opened> {
    let mut running = tools.start(folder, None)?;
    let mut opened = Opened::default();
    match running.port()? {
        None => opened.is_refused = true,
        Some(port) => {
            for (vhost, name) in VHOSTS.iter().enumerate() {
                let looking = timeout(PATIENCE, look(port, vhost, &mut opened.wrong));
                match looking.await {
                    Ok(Ok(found)) => {
                        let wrong = compare(&history.at(vhost, time), &found);
                        opened.wrong.extend(wrong.into_iter().map(|what| format!("{name}: {what}")));
                    }
                    Ok(Err(error)) => opened.wrong.push(format!("a client of it fails: {error}")),
                    Err(_) => opened.wrong.push("a client of it waits for ever".to_owned()),
                }
            }
            running.kill()?;
        }
    }
    opened.log = running.log()?;
    // The store panics on some kinds of damage, which the program catches and tells in words.
    let is_told = opened.is_refused && opened.log.contains("is damaged");
    if opened.log.contains("panicked") && !is_told {
        opened.wrong.push("the program panics".to_owned());
    }
    Ok(opened)
}

/// Takes everything out of a virtual host.
async fn look(port: u16, vhost: usize, wrong: &mut Vec<String>) -> Result<[Option<FoundQueue>; QUEUES]> {
    let connection = connect(port, vhost).await?;
    let mut found: [Option<FoundQueue>; QUEUES] = Default::default();
    for (queue, found) in found.iter_mut().enumerate() {
        let channel = connection.open_channel().await?;
        let passive = Queue::durable(queue_name(queue)).passive(true);
        if let Ok(info) = channel.declare(passive).await {
            let numbers = drain(&channel, vhost, queue, info.messages, wrong).await?;
            *found = Some(FoundQueue { numbers, is_bound: false });
        }
    }
    look_at_bindings(&connection, &mut found).await?;
    Ok(found)
}

async fn drain(
    channel: &Channel,
    vhost: usize,
    queue: usize,
    count: u32,
    wrong: &mut Vec<String>,
) -> Result<Vec<u64>> {
    let mut numbers = Vec::new();
    if count == 0 {
        return Ok(numbers);
    }
    let mut consumer = channel.consume(&queue_name(queue), ConsumeOptions::new().no_ack(true)).await?;
    for _ in 0..count {
        let Some(delivery) = consumer.recv().await else { break };
        match number(vhost, delivery?.body()) {
            Some(number) => numbers.push(number),
            None => wrong.push(format!("queue {queue} has a message with another body")),
        }
    }
    consumer.cancel().await?;
    Ok(numbers)
}

/// Sees where a message to the exchange arrives.
async fn look_at_bindings(connection: &Connection, found: &mut [Option<FoundQueue>; QUEUES]) -> Result<()> {
    let channel = connection.open_channel().await?;
    if channel.declare(Exchange::fanout(EXCHANGE).durable(true).passive(true)).await.is_err() {
        return Ok(());
    }
    let channel = connection.open_channel().await?;
    let publisher = channel.publisher().await?;
    let confirm = publisher.publish((EXCHANGE, ""), Message::new("probe").persistent()).await?;
    if !matches!(confirm.await?, Confirmation::Ack) {
        return Ok(());
    }
    for (queue, found) in found.iter_mut().enumerate() {
        if let Some(found) = found {
            let info = channel.declare(Queue::durable(queue_name(queue)).passive(true)).await?;
            found.is_bound = info.messages > 0;
        }
    }
    Ok(())
}
