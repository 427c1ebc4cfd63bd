//! Publishers and consumers of one queue, each with its own connection, which continue while
//! brokers come and go; and the account of every message.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use amqp_client::{
    Backoff, Confirm, Confirmation, ConnectOptions, Connection, ConsumeOptions, Error, Message, Queue,
    Recovery, Route,
};
use tests::{Ledger, Outcome, Summary};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

const PUBLISHERS: usize = 4;
const CONSUMERS: usize = 4;

/// The most unconfirmed messages of a publisher.
const IN_FLIGHT: usize = 50;

/// The pause between batches of a publisher, so that the broker keeps up and the ledger stays
/// readable.
const PAUSE: Duration = Duration::from_millis(20);

/// How long the last messages may take, once brokers no longer come and go.
const DEADLINE: Duration = Duration::from_secs(120);

/// A load that runs from [`begin`](Self::begin) to [`finish`](Self::finish).
pub(super) struct Load {
    shared: Arc<Shared>,
    publishers: JoinSet<Pauses>,
    consumers: JoinSet<usize>,
}

struct Shared {
    queue: String,
    ledger: Ledger,
    confirmed: AtomicU64,
    is_over: AtomicBool,
}

/// What a publisher has observed.
#[derive(Clone, Copy, Debug, Default)]
struct Pauses {
    /// The longest time between two confirms.
    longest: Duration,
    reconnects: u64,
}

/// The result of a load.
#[derive(Debug)]
pub(super) struct Account {
    pub(super) summary: Summary,
    /// The longest time in which a publisher saw no confirm.
    pub(super) longest_pause: Duration,
    /// The reconnects of all publishers and consumers.
    pub(super) reconnects: u64,
}

/// The options of all connections: they recover quickly, and detect dead hosts.
pub(super) fn options() -> ConnectOptions {
    let recovery = Recovery::new().backoff(pauses()).first_connect(true);
    // A node that is killed closes its sockets; heartbeats are for one that cannot.
    ConnectOptions::new().heartbeat(Duration::from_secs(5)).recovery(recovery)
}

/// The pauses between the attempts of whatever waits for a broker.
fn pauses() -> Backoff {
    Backoff::new(Duration::from_millis(20), Duration::from_millis(500))
}

impl Load {
    /// Starts four publishers, of which every other republishes unconfirmed messages, and four
    /// consumers; `uri` returns the brokers for each number.
    pub(super) async fn begin(queue: &Queue, uri: impl Fn(usize) -> String) -> Self {
        let connection = options().connect(&uri(0)).await.unwrap();
        connection.open_channel().await.unwrap().declare(queue).await.unwrap();
        connection.close().await.unwrap();
        let shared = Arc::new(Shared {
            queue: queue.name().to_owned(),
            ledger: Ledger::new(),
            confirmed: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
        });
        let mut load = Load { shared: shared.clone(), publishers: JoinSet::new(), consumers: JoinSet::new() };
        for number in 0..PUBLISHERS {
            let connection = options().connect(&uri(number)).await.unwrap();
            load.publishers.spawn(publish(shared.clone(), connection, number % 2 == 0));
        }
        for number in 0..CONSUMERS {
            let connection = options().connect(&uri(number)).await.unwrap();
            load.consumers.spawn(consume(shared.clone(), connection));
        }
        load
    }

    /// Waits until so many more messages are confirmed, by brokers that may just have come back.
    pub(super) async fn goes_on(&mut self, messages: u64) {
        let shared = self.shared.clone();
        let confirmed = || shared.confirmed.load(Ordering::Relaxed);
        let until = confirmed() + messages;
        let waiting = async {
            while confirmed() < until {
                sleep(PAUSE).await;
            }
        };
        let in_time = timeout(DEADLINE, waiting).await;
        self.check_tasks();
        in_time.unwrap_or_else(|_| panic!("only {} of {until} were confirmed", confirmed()));
    }

    /// Ends the publishers, waits for what is in progress, and returns the account.
    pub(super) async fn finish(mut self) -> Account {
        self.shared.is_over.store(true, Ordering::Relaxed);
        let mut account =
            Account { summary: Summary::default(), longest_pause: Duration::ZERO, reconnects: 0 };
        while let Some(pauses) = timeout(DEADLINE, self.publishers.join_next()).await.expect("publishers end")
        {
            let pauses = pauses.unwrap();
            account.longest_pause = account.longest_pause.max(pauses.longest);
            account.reconnects += pauses.reconnects;
        }
        while let Some(reconnects) =
            timeout(DEADLINE, self.consumers.join_next()).await.unwrap_or_else(|_| {
                panic!("not delivered and acked: {:?} and perhaps more", self.shared.ledger.missing())
            })
        {
            account.reconnects += reconnects.unwrap() as u64;
        }
        account.summary = self.shared.ledger.check();
        account
    }

    /// Checks that none of them has ended or failed.
    fn check_tasks(&mut self) {
        if let Some(ended) = self.publishers.try_join_next() {
            panic!("a publisher ended: {ended:?}");
        }
        if let Some(ended) = self.consumers.try_join_next() {
            panic!("a consumer ended: {ended:?}");
        }
    }
}

async fn publish(shared: Arc<Shared>, connection: Connection, republish: bool) -> Pauses {
    let channel = connection.open_channel().await.unwrap();
    let publisher = channel.publisher().await.unwrap().republish(republish);
    // A broker that does not know its queue yet confirms a message that it drops.
    let route = Route::new("", &shared.queue).mandatory(true);
    let mut confirms = VecDeque::new();
    let mut pauses = Pauses::default();
    let mut last = Instant::now();
    while !shared.is_over.load(Ordering::Relaxed) {
        let number = shared.ledger.publish(republish);
        let message = Message::new(number.to_string()).persistent();
        confirms.push_back((number, publisher.publish(route, message).await.unwrap()));
        if confirms.len() == IN_FLIGHT {
            settle(&shared, &mut confirms, &mut pauses, &mut last).await;
            sleep(PAUSE).await;
        }
    }
    settle(&shared, &mut confirms, &mut pauses, &mut last).await;
    pauses.reconnects = connection.metrics().reconnects;
    connection.close().await.unwrap();
    pauses
}

async fn settle(
    shared: &Shared,
    confirms: &mut VecDeque<(u64, Confirm)>,
    pauses: &mut Pauses,
    last: &mut Instant,
) {
    for (number, confirm) in confirms.drain(..) {
        let outcome = match confirm.await {
            Ok(Confirmation::Ack) => {
                shared.confirmed.fetch_add(1, Ordering::Relaxed);
                pauses.longest = pauses.longest.max(last.elapsed());
                *last = Instant::now();
                Outcome::Confirmed
            }
            Ok(Confirmation::Returned(_)) => Outcome::Returned,
            // This comes while the broker goes down.
            Ok(Confirmation::Nack) => Outcome::Nacked,
            Err(Error::PublishLost(_)) => Outcome::Lost,
            other => panic!("message {number}: {other:?}"),
        };
        shared.ledger.settle(number, outcome);
    }
}

/// Consumes and acknowledges until all confirmed messages have come; returns the number of
/// reconnects.
async fn consume(shared: Arc<Shared>, connection: Connection) -> usize {
    let channel = connection.open_channel().await.unwrap();
    let options = ConsumeOptions::new().prefetch(20).resubscribe(pauses());
    let mut consumer = channel.consume(&shared.queue, options).await.unwrap();
    loop {
        match timeout(Duration::from_millis(200), consumer.recv()).await {
            Ok(Some(Ok(delivery))) => {
                let number = std::str::from_utf8(delivery.body()).unwrap().parse().unwrap();
                let receipt = shared.ledger.deliver(number, delivery.redelivered());
                match delivery.ack().await {
                    Ok(()) => shared.ledger.ack(receipt, true),
                    Err(Error::StaleDelivery { .. }) => shared.ledger.ack(receipt, false),
                    Err(error) => panic!("message {number}: {error}"),
                }
            }
            Ok(ended) => panic!("the consumer ended: {ended:?}"),
            Err(_) if shared.is_over.load(Ordering::Relaxed) && shared.ledger.is_complete() => break,
            Err(_) => {}
        }
    }
    let reconnects = connection.metrics().reconnects;
    connection.close().await.unwrap();
    usize::try_from(reconnects).unwrap()
}
