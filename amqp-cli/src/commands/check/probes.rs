//! The questions that a check asks.

use std::time::Instant;

use amqp_client::{Channel, Confirmation, Connection, ConsumeOptions, Message, Queue, Report, Route};

use crate::{
    commands::check::findings::{Findings, Limits, Status},
    connection::target::{Target, close},
    error::Error,
};

/// Asks everything, one after the other. What is found before a deadline drops the future stays in
/// the findings.
pub(super) async fn probe(
    target: &Target,
    does_roundtrip: bool,
    (queues, limits): (&[String], Limits),
    findings: &mut Findings,
) {
    let begin = Instant::now();
    let (connection, channel) = match target.open_channel().await {
        Ok(opened) => opened,
        Err(error) => return critical(findings, &error),
    };
    findings.connected = Some(begin.elapsed());
    findings.broker = broker(&connection);
    if does_roundtrip {
        let begin = Instant::now();
        match roundtrip(&channel).await {
            Ok(()) => findings.roundtrip = Some(begin.elapsed()),
            Err(error) => critical(findings, &error),
        }
    }
    for queue in queues {
        match depth(&connection, queue).await {
            Ok(depth) => findings.add_queue(queue, depth, limits),
            Err(error) => critical(findings, &error),
        }
    }
    close(&connection).await;
}

fn critical(findings: &mut Findings, error: &Error) {
    findings.problems.push((Status::Critical, Report(error).to_string()));
}

fn broker(connection: &Connection) -> String {
    let properties = connection.server_properties();
    let text = |key| properties.get(key).and_then(|value| value.as_str().map(str::to_owned));
    [text("product"), text("version")].into_iter().flatten().collect::<Vec<_>>().join(" ")
}

/// Declares a queue that only this connection may use, publishes a message to it and receives it.
async fn roundtrip(channel: &Channel) -> Result<(), Error> {
    let queue =
        channel.declare(Queue::new("").exclusive(true)).await.map_err(Error::broker("declare a queue"))?;
    let options = ConsumeOptions::new().no_ack(true);
    let consuming = channel.consume(&queue.name, options).await;
    let mut consumer = consuming.map_err(Error::broker("consume from the queue"))?;
    let publisher = channel.publisher().await.map_err(Error::broker("turn confirms on"))?;
    let body = format!("{:032x}", fastrand::u128(..));
    let route = Route::new("", &queue.name).mandatory(true);
    let failed = || Error::broker("publish a message");
    let confirm = publisher.publish(route, Message::new(body.clone())).await.map_err(failed())?;
    match confirm.await.map_err(failed())? {
        Confirmation::Ack => {}
        Confirmation::Nack | Confirmation::Returned(_) => {
            return Err(Error::NotTaken { number: 1, why: "it was nacked or returned".to_owned() });
        }
    }
    match consumer.recv().await.transpose().map_err(Error::broker("receive the message"))? {
        Some(delivery) if delivery.body()[..] == *body.as_bytes() => Ok(()),
        _ => Err(Error::Nothing("another message than that one came back".to_owned())),
    }
}

/// A queue's messages and consumers. A queue that there is not closes its channel, so that each has
/// its own.
async fn depth(connection: &Connection, queue: &str) -> Result<(u32, u32), Error> {
    let channel = connection.open_channel().await.map_err(Error::broker("open a channel"))?;
    let declared = channel.declare(Queue::new(queue).passive(true)).await;
    let info = declared.map_err(Error::broker(format!("look at queue {queue:?}")))?;
    Ok((info.messages, info.consumers))
}
