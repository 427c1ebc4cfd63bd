//! Clients that use amqp-client: publishers with confirms, and consumers, on connections that
//! recover.

use std::{str, time::Duration};

use amqp_client::{
    Backoff, Confirm, Confirmation, ConnectOptions, Connection, ConsumeOptions, Error, Message, Recovery,
    Report, Route,
};
use futures_util::{StreamExt as _, stream::FuturesUnordered};
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::{
    account::Fate,
    body::{body_of, number_of},
    load::{HEARTBEAT, Load, ends},
};

/// The most publishes of a publisher that wait for their confirms.
const IN_FLIGHT: usize = 200;
/// The time that a confirm may take: while most nodes are away there is none.
const CONFIRM: Duration = Duration::from_secs(300);
const PREFETCH: u16 = 20;
/// The time that a consumer waits before it asks whether all is over.
const LOOK: Duration = Duration::from_millis(500);

/// The options of all connections.
fn options(name: String) -> ConnectOptions {
    let recovery = Recovery::new().backoff(pauses()).first_connect(true);
    ConnectOptions::new().name(name).heartbeat(HEARTBEAT).connect_timeout(2 * HEARTBEAT).recovery(recovery)
}

fn pauses() -> Backoff {
    Backoff::new(Duration::from_millis(50), Duration::from_secs(2))
}

/// Publishes at this rate until the load is over. `republish` has what was not confirmed published
/// again after a reconnect.
pub(super) async fn publish(
    load: Load,
    uri: String,
    queue: &'static str,
    (number, every): (usize, Duration),
    republish: bool,
) -> Result<(), Error> {
    let connection = options(format!("publisher {number}")).connect(&uri).await?;
    let publisher = connection.open_channel().await?.publisher().await?.republish(republish);
    let progress = load.continuity.begin("publisher", number);
    // A broker that does not know its queue would confirm a message that it drops.
    let route = Route::new("", queue).mandatory(true);
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut confirms = FuturesUnordered::new();
    while !load.is_over() {
        tokio::select! {
            _ = ticks.tick(), if confirms.len() < IN_FLIGHT => {
                let number = load.direct.publish();
                let links = connection.metrics().reconnects;
                let message = Message::new(body_of(number)).persistent();
                let publishing = publisher.publish(route, message);
                match ends(&load.direct, "a publish", CONFIRM, publishing).await {
                    Some(Ok(confirm)) => confirms.push(confirmed(&load, &connection, number, links, confirm)),
                    Some(Err(error)) => {
                        load.direct.wrong(format!("publish {number}: {}", Report(&error)));
                        load.direct.settle(number, Fate::Unknown);
                    }
                    None => {}
                }
            }
            Some(is_confirmed) = confirms.next() => if is_confirmed { progress.made() },
        }
    }
    while let Some(is_confirmed) = confirms.next().await {
        if is_confirmed {
            progress.made();
        }
    }
    load.add_reconnects(connection.metrics().reconnects);
    connection.close().await
}

/// Awaits and notes the outcome of a publish.
async fn confirmed(
    load: &Load,
    connection: &Connection,
    number: usize,
    links: u64,
    confirm: Confirm,
) -> bool {
    let Some(outcome) = ends(&load.direct, "a confirm", CONFIRM, confirm).await else { return false };
    let is_confirmed = matches!(outcome, Ok(Confirmation::Ack));
    let fate = match outcome {
        // It was published again if the connection was lost meanwhile, and that was asked for.
        Ok(Confirmation::Ack) if connection.metrics().reconnects > links => Fate::ConfirmedAgain,
        Ok(Confirmation::Ack) => Fate::Confirmed,
        Ok(Confirmation::Returned(_)) => Fate::Refused,
        Ok(Confirmation::Nack) | Err(Error::PublishLost(_)) => Fate::Unknown,
        Err(error) => {
            load.direct.wrong(format!("the confirm of {number}: {}", Report(&error)));
            Fate::Unknown
        }
    };
    load.direct.settle(number, fate);
    is_confirmed
}

/// Consumes and acknowledges until everything that was published has been handled.
pub(super) async fn consume(
    load: Load,
    uri: String,
    queue: &'static str,
    number: usize,
) -> Result<(), Error> {
    let connection = options(format!("consumer {number}")).connect(&uri).await?;
    let channel = connection.open_channel().await?;
    let consuming = ConsumeOptions::new().prefetch(PREFETCH).resubscribe(pauses());
    let mut consumer = channel.consume(queue, consuming).await?;
    let progress = load.continuity.begin("consumer", number);
    loop {
        match timeout(LOOK, consumer.recv()).await {
            Ok(Some(Ok(delivery))) => {
                let handled = str::from_utf8(delivery.body()).ok().and_then(number_of);
                match handled {
                    Some(message) => load.direct.handle(message, number, delivery.redelivered()),
                    None => load.direct.wrong("a body that nobody published"),
                }
                match delivery.ack().await {
                    Ok(()) => progress.made(),
                    // It comes again on another connection.
                    Err(Error::StaleDelivery { .. }) => {}
                    Err(error) => load.direct.wrong(format!("an acknowledgement: {}", Report(&error))),
                }
            }
            Ok(Some(Err(error))) => return Err(error),
            Ok(None) => {
                load.direct.wrong("a consumer ended");
                return Ok(());
            }
            Err(_) if load.is_over() && load.direct.is_complete() => break,
            Err(_) => {}
        }
    }
    load.add_reconnects(connection.metrics().reconnects);
    connection.close().await
}
