//! Clients that use amqp-client: publishes with confirms and a consumer, single gets, transactions.

use std::{collections::VecDeque, sync::Arc};

use amqp_client::{
    Channel, Confirm, Confirmation, Connection, ConsumeOptions, Error, GetOptions, Message, Publisher, Queue,
};
use tokio::task::JoinHandle;

use super::{
    fixed::{body_of, number_of},
    link::Link,
    tally::Tally,
};

/// The most publishes that wait for their confirms.
const IN_FLIGHT: usize = 1000;
const PREFETCH: u16 = 500;
/// The messages of a transaction, which divides the number of them in a round. Every tenth
/// transaction is rolled back and then made again.
pub(super) const TRANSACTION: u64 = 20;
const ROLLED_BACK: u64 = 10;

/// Publishes with confirms, and a consumer that acknowledges each.
pub(super) struct Confirmed {
    connections: [Connection; 2],
    publisher: Publisher,
    queue: String,
    tally: Arc<Tally>,
    consuming: JoinHandle<()>,
}

impl Confirmed {
    pub(super) async fn start(link: &Link, expected: u64) -> Result<Self, Error> {
        let queue = format!("{}-confirmed", link.name());
        let tally = Arc::new(Tally::new(&queue, expected));
        let connections = [link.connection().await?, link.connection().await?];
        let publisher = connections[0].open_channel().await?.publisher().await?;
        let channel = connections[1].open_channel().await?;
        channel.declare(&Queue::durable(&queue)).await?;
        let consuming = consume(&channel, &queue, &tally).await?;
        Ok(Confirmed { connections, publisher, queue, tally, consuming })
    }

    pub(super) fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Publishes a round.
    pub(super) async fn round(&self) -> Result<(), Error> {
        let mut confirms = VecDeque::new();
        for number in 0..self.tally.expected() {
            if confirms.len() == IN_FLIGHT
                && let Some(oldest) = confirms.pop_front()
            {
                self.settle(oldest).await?;
            }
            let message = Message::new(body_of(number)).persistent();
            confirms.push_back(self.publisher.publish(("", &self.queue), message).await?);
        }
        for confirm in confirms {
            self.settle(confirm).await?;
        }
        Ok(())
    }

    async fn settle(&self, confirm: Confirm) -> Result<(), Error> {
        match confirm.await? {
            Confirmation::Ack => {}
            other => self.tally.wrong(format!("a publish: {other:?}")),
        }
        Ok(())
    }

    pub(super) async fn end(self) -> Result<(), Error> {
        close(&self.connections, self.consuming).await
    }
}

/// Consumes and acknowledges, until the connection is closed.
async fn consume(channel: &Channel, queue: &str, tally: &Arc<Tally>) -> Result<JoinHandle<()>, Error> {
    let mut consumer = channel.consume(queue, ConsumeOptions::new().prefetch(PREFETCH)).await?;
    let tally = Arc::clone(tally);
    Ok(tokio::spawn(async move {
        while let Some(Ok(delivery)) = consumer.recv().await {
            handle(&tally, delivery.body(), delivery.redelivered());
            if let Err(error) = delivery.ack().await {
                tally.wrong(format!("an ack: {error}"));
            }
        }
    }))
}

fn handle(tally: &Tally, body: &[u8], redelivered: bool) {
    match number_of(body) {
        Some(number) if !redelivered => tally.handle(number),
        Some(number) => tally.wrong(format!("message {number} is redelivered")),
        None => tally.wrong("a body that nobody published"),
    }
}

async fn close(connections: &[Connection], consuming: JoinHandle<()>) -> Result<(), Error> {
    for connection in connections {
        connection.close().await?;
    }
    // It ends with its connection, and hides no panic: the tally would not be complete.
    let _ = consuming.await;
    Ok(())
}

/// Publishes, and gets each message by itself.
pub(super) struct Fetched {
    connection: Connection,
    channel: Channel,
    publisher: Publisher,
    queue: String,
    tally: Tally,
}

impl Fetched {
    pub(super) async fn start(link: &Link, expected: u64) -> Result<Self, Error> {
        let queue = format!("{}-fetched", link.name());
        let connection = link.connection().await?;
        let channel = connection.open_channel().await?;
        channel.declare(&Queue::new(&queue)).await?;
        let publisher = connection.open_channel().await?.publisher().await?;
        let tally = Tally::new(&queue, expected);
        Ok(Fetched { connection, channel, publisher, queue, tally })
    }

    pub(super) fn tally(&self) -> &Tally {
        &self.tally
    }

    pub(super) async fn round(&self) -> Result<(), Error> {
        for number in 0..self.tally.expected() {
            let confirm = self.publisher.publish(("", &self.queue), Message::new(body_of(number))).await?;
            confirm.await?;
            match self.channel.get(&self.queue, GetOptions::new()).await? {
                Some(delivery) => {
                    handle(&self.tally, delivery.body(), delivery.redelivered());
                    delivery.ack().await?;
                }
                None => self.tally.wrong(format!("message {number} is not there")),
            }
        }
        Ok(())
    }

    pub(super) async fn end(self) -> Result<(), Error> {
        self.connection.close().await
    }
}

/// Publishes in transactions, some of which are rolled back, and acknowledges in transactions.
pub(super) struct Transacted {
    connections: [Connection; 2],
    publishing: Channel,
    queue: String,
    tally: Arc<Tally>,
    consuming: JoinHandle<()>,
}

impl Transacted {
    /// `expected` is a multiple of [`TRANSACTION`].
    pub(super) async fn start(link: &Link, expected: u64) -> Result<Self, Error> {
        let queue = format!("{}-transacted", link.name());
        let tally = Arc::new(Tally::new(&queue, expected));
        let connections = [link.connection().await?, link.connection().await?];
        let (publishing, consuming) =
            (connections[0].open_channel().await?, connections[1].open_channel().await?);
        publishing.declare(&Queue::new(&queue)).await?;
        publishing.tx_select().await?;
        consuming.tx_select().await?;
        let consuming = consume_in_transactions(consuming, &queue, &tally).await?;
        Ok(Transacted { connections, publishing, queue, tally, consuming })
    }

    pub(super) fn tally(&self) -> &Tally {
        &self.tally
    }

    pub(super) async fn round(&self) -> Result<(), Error> {
        for transaction in 0..self.tally.expected() / TRANSACTION {
            if transaction % ROLLED_BACK == 0 {
                self.publish(transaction).await?;
                self.publishing.tx_rollback().await?;
            }
            self.publish(transaction).await?;
            self.publishing.tx_commit().await?;
        }
        Ok(())
    }

    async fn publish(&self, transaction: u64) -> Result<(), Error> {
        for number in transaction * TRANSACTION..(transaction + 1) * TRANSACTION {
            self.publishing.publish(("", &self.queue), Message::new(body_of(number))).await?;
        }
        Ok(())
    }

    pub(super) async fn end(self) -> Result<(), Error> {
        close(&self.connections, self.consuming).await
    }
}

async fn consume_in_transactions(
    channel: Channel,
    queue: &str,
    tally: &Arc<Tally>,
) -> Result<JoinHandle<()>, Error> {
    let mut consumer = channel.consume(queue, ConsumeOptions::new().prefetch(PREFETCH)).await?;
    let tally = Arc::clone(tally);
    Ok(tokio::spawn(async move {
        let mut uncommitted = 0;
        while let Some(Ok(delivery)) = consumer.recv().await {
            handle(&tally, delivery.body(), delivery.redelivered());
            let mut settled = delivery.ack().await;
            uncommitted += 1;
            if uncommitted == TRANSACTION {
                settled = settled.and(channel.tx_commit().await);
                uncommitted = 0;
            }
            if let Err(error) = settled {
                tally.wrong(format!("an ack: {error}"));
            }
        }
    }))
}
