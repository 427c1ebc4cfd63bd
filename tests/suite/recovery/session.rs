//! A session that uses all functions of a connection and continues whatever happens to it, with the
//! account of its messages.

use std::{collections::VecDeque, time::Duration};

use amqp_client::{
    Backoff, Binding, Channel, Confirm, Confirmation, ConnectOptions, Connection, ConsumeOptions, Consumer,
    DeleteOptions, Delivery, Error, Exchange, GetOptions, Message, Publisher, Queue, Recovery, Result, Route,
    State,
};
use tests::{Ledger, Outcome, Receipt, Summary};
use tokio::{
    join,
    time::{sleep, timeout},
};

/// How long a consumer waits for further deliveries before it acknowledges.
const PAUSE: Duration = Duration::from_millis(50);

/// How often one operation may fail because the connection is lost.
const PATIENCE: usize = 20;

/// A session on a broker: its names, and its account.
pub(super) struct Session {
    events: String,
    jobs: String,
    letters: String,
    is_in_order: bool,
    pub(super) ledger: Ledger,
}

/// Options with small frames, so that a body takes several.
pub(super) fn options() -> ConnectOptions {
    let recovery = super::script::recovery().first_connect(true);
    ConnectOptions::new().frame_max(8192).heartbeat(Duration::ZERO).recovery(recovery)
}

/// Options for a real clock, with short pauses.
pub(super) fn quick_options() -> ConnectOptions {
    let backoff = Backoff::new(Duration::from_millis(10), Duration::from_millis(200));
    options().recovery(Recovery::new().backoff(backoff).first_connect(true))
}

impl Session {
    /// A session whose names begin with `prefix`.
    pub(super) fn new(prefix: &str) -> Self {
        let name = |name: &str| format!("{prefix}.{name}");
        Session {
            events: name("events"),
            jobs: name("jobs"),
            letters: name("letters"),
            is_in_order: false,
            ledger: Ledger::new(),
        }
    }

    /// Expects first deliveries in order: the broker notices the loss of a connection before the
    /// next begins.
    pub(super) fn in_order(self) -> Self {
        Session { is_in_order: true, ..self }
    }

    /// Runs the session to the connection's end, over a connection that may be lost meanwhile.
    pub(super) async fn run(&self, connection: &Connection) {
        let plain = again(|| connection.open_channel()).await;
        let careful = again(|| connection.open_channel()).await;
        let consuming = again(|| connection.open_channel()).await;
        let getting = again(|| connection.open_channel()).await;
        let mut own = self.set_up(&plain, &consuming).await;
        let publisher = again(|| plain.publisher()).await;
        let republisher = again(|| careful.publisher()).await.republish(true);
        self.in_step(&[&plain, &careful, &getting]).await;

        self.publish(&publisher, false, &[0, 10, 9000, 10]).await;
        self.publish(&republisher, true, &[10, 9000, 0]).await;
        self.publish_nowhere(&publisher, &republisher).await;
        self.in_step(&[&plain, &careful]).await;

        let prefetch = || ConsumeOptions::new().prefetch(4);
        let mut consumer = again(|| consuming.consume(&self.jobs, prefetch())).await;
        self.consume(&mut consumer).await;
        self.publish(&publisher, false, &[10, 10]).await;
        self.publish(&republisher, true, &[5000, 10]).await;
        self.consume(&mut consumer).await;
        self.get(&republisher, &getting).await;
        self.in_step(&[&plain, &careful, &consuming, &getting]).await;

        self.reach(&mut own, &republisher).await;
        drop(own);
        match consumer.cancel().await {
            Err(error) if is_loss(&error) => {}
            cancelled => cancelled.unwrap(),
        }
        // Messages acknowledged over the lost connection may come again; then the stream ends
        // without an error.
        while let Some(delivery) = consumer.recv().await {
            let delivery = delivery.unwrap();
            assert!(delivery.redelivered());
            let receipt = self.delivered(&delivery);
            self.ack(delivery, receipt).await;
        }
        getting.close().await.unwrap();
        self.in_step(&[&plain, &careful, &consuming]).await;
        nothing_left(connection, 3).await;
        connection.close().await.unwrap();
        assert_eq!((connection.metrics().calls, connection.metrics().waiting), (0, 0));
        assert!(matches!(plain.purge("nothing").await, Err(Error::ConnectionEnded)));
    }

    /// Empties the queues and deletes everything, over a connection without faults; returns the
    /// account.
    pub(super) async fn settle(&self, connection: &Connection) -> Summary {
        let channel = connection.open_channel().await.unwrap();
        for queue in [&self.jobs, &self.letters] {
            while let Some(delivery) = channel.get(queue, GetOptions::new()).await.unwrap() {
                let receipt = self.delivered(&delivery);
                self.ack(delivery, receipt).await;
            }
            channel.delete_queue(queue, DeleteOptions::new()).await.unwrap();
        }
        channel.delete_exchange(&self.events, DeleteOptions::new()).await.unwrap();
        connection.close().await.unwrap();
        self.ledger.check()
    }

    /// Declares the topology, and starts the consumer of a queue that the broker named.
    async fn set_up(&self, plain: &Channel, consuming: &Channel) -> Consumer {
        let events = Exchange::topic(&self.events).durable(true);
        let (jobs, letters) = (Queue::durable(&self.jobs), Queue::durable(&self.letters));
        again(|| plain.declare(&events)).await;
        again(|| plain.declare(&jobs)).await;
        again(|| plain.declare(&letters)).await;
        again(|| plain.bind(Binding::new(&jobs, &events).routing_key("job.*"))).await;
        // Its name may change at any time: the empty name stands for the queue declared last.
        let own = Queue::new("").exclusive(true);
        again(|| consuming.declare(&own)).await;
        again(|| consuming.bind(Binding::new("", &events).routing_key("own"))).await;
        again(|| consuming.consume("", ConsumeOptions::new().no_ack(true))).await
    }

    /// Publishes bodies of these sizes, all at once, and waits for the outcomes.
    async fn publish(&self, publisher: &Publisher, republish: bool, sizes: &[usize]) {
        let mut confirms = Vec::new();
        for size in sizes {
            let number = self.ledger.publish(republish);
            let message = Message::new(body(number, *size)).persistent();
            confirms.push((number, publisher.publish((&self.events, "job.run"), message).await.unwrap()));
        }
        for (number, confirm) in confirms {
            self.ledger.settle(number, outcome(confirm).await);
        }
        match publisher.flush().await {
            Err(Error::PublishLost(_)) if !republish => {}
            flushed => flushed.unwrap(),
        }
    }

    /// Publishes messages that no queue takes, which are returned.
    async fn publish_nowhere(&self, publisher: &Publisher, republisher: &Publisher) {
        for (publisher, republish) in [(publisher, false), (republisher, true)] {
            let number = self.ledger.publish(republish);
            let message = Message::new(body(number, 10));
            let confirm = publisher
                .publish(Route::new(&self.events, "nowhere").mandatory(true), message)
                .await
                .unwrap();
            let outcome = outcome(confirm).await;
            assert!(outcome != Outcome::Confirmed, "message {number} was taken by no queue");
            self.ledger.settle(number, outcome);
        }
    }

    /// Consumes and acknowledges everything, out of order and some of it late.
    async fn consume(&self, consumer: &mut Consumer) {
        let mut held = VecDeque::new();
        let mut newest = 0;
        loop {
            match timeout(PAUSE, consumer.recv()).await {
                Ok(Some(Ok(delivery))) => {
                    let receipt = self.delivered(&delivery);
                    if receipt.is_first() {
                        assert!(
                            !self.is_in_order || receipt.number() > newest,
                            "{} came after {newest}",
                            receipt.number()
                        );
                        newest = receipt.number();
                    }
                    held.push_back((delivery, receipt));
                    if held.len() == 3
                        && let (Some(second), Some(first)) = (held.remove(1), held.pop_front())
                    {
                        self.ack(second.0, second.1).await;
                        self.ack(first.0, first.1).await;
                    }
                }
                Ok(ended) => panic!("the consumer ended: {ended:?}"),
                Err(_) => {
                    for (delivery, receipt) in held.drain(..) {
                        self.ack(delivery, receipt).await;
                    }
                    if self.ledger.is_complete() {
                        return;
                    }
                }
            }
        }
    }

    /// Publishes a message and gets it from its queue.
    async fn get(&self, publisher: &Publisher, channel: &Channel) {
        let number = self.ledger.publish(true);
        let confirm = publisher.publish(("", &self.letters), Message::new(body(number, 5000))).await.unwrap();
        self.ledger.settle(number, outcome(confirm).await);
        while !self.ledger.is_complete() {
            // If it was fetched over a connection that was lost, it is there again when the broker
            // has noticed.
            match again(|| channel.get(&self.letters, GetOptions::new())).await {
                Some(delivery) => {
                    let receipt = self.delivered(&delivery);
                    self.ack(delivery, receipt).await;
                }
                None => sleep(PAUSE).await,
            }
        }
    }

    /// Publishes to a queue that the broker named, whatever its name is now.
    async fn reach(&self, own: &mut Consumer, publisher: &Publisher) {
        for _ in 0..PATIENCE {
            let confirm = publisher.publish((&self.events, "own"), Message::new("hello")).await.unwrap();
            assert!(matches!(confirm.await.unwrap(), Confirmation::Ack));
            // It is lost with the queue if the connection was lost between the two.
            if let Ok(delivery) = timeout(20 * PAUSE, own.recv()).await {
                assert_eq!(delivery.unwrap().unwrap().body(), "hello");
                return;
            }
        }
        panic!("nothing reaches the queue {:?}", own.queue());
    }

    /// Checks that each call gets its own answer.
    async fn in_step(&self, channels: &[&Channel]) {
        for channel in channels {
            let (jobs, letters) = (Queue::durable(&self.jobs), Queue::durable(&self.letters));
            let (first, second, third) = join!(
                again(|| channel.declare(jobs.clone().passive(true))),
                again(|| channel.declare(letters.clone().passive(true))),
                again(|| channel.declare(jobs.clone().passive(true))),
            );
            assert_eq!([&first.name, &second.name, &third.name], [&self.jobs, &self.letters, &self.jobs]);
        }
    }

    fn delivered(&self, delivery: &Delivery) -> Receipt {
        let number = std::str::from_utf8(delivery.body()).unwrap().trim_end_matches('.').parse().unwrap();
        self.ledger.deliver(number, delivery.redelivered())
    }

    async fn ack(&self, delivery: Delivery, receipt: Receipt) {
        match delivery.ack().await {
            Ok(()) => self.ledger.ack(receipt, true),
            Err(Error::StaleDelivery { .. }) => self.ledger.ack(receipt, false),
            Err(error) => panic!("an ack failed: {error}"),
        }
    }
}

/// The message's number, padded to a size.
fn body(number: u64, size: usize) -> String {
    format!("{number:.<size$}")
}

/// The outcome of a publish.
pub(super) async fn outcome(confirm: Confirm) -> Outcome {
    match confirm.await {
        Ok(Confirmation::Ack) => Outcome::Confirmed,
        Ok(Confirmation::Returned(_)) => Outcome::Returned,
        Ok(Confirmation::Nack) => Outcome::Nacked,
        Err(Error::PublishLost(cause)) if is_loss(&cause) => Outcome::Lost,
        // Its user closed the channel and did not wait.
        Err(Error::ChannelEnded { .. }) => Outcome::Forgotten,
        Err(error) => panic!("a confirm failed: {error}"),
    }
}

/// Repeats an operation until the connection is not lost meanwhile. Any other error fails the test.
pub(super) async fn again<T, F: Future<Output = Result<T>>>(act: impl Fn() -> F) -> T {
    for _ in 0..PATIENCE {
        match act().await {
            Err(error) if is_loss(&error) => {}
            done => return done.unwrap(),
        }
    }
    panic!("the connection is lost again and again");
}

/// Tells whether the error means that the connection was lost.
pub(super) fn is_loss(error: &Error) -> bool {
    matches!(error, Error::ConnectionLost(_) | Error::HeartbeatMissed { .. })
}

/// Checks that nobody waits any more, once the connection is in order and what is closed in the
/// background is closed.
pub(super) async fn nothing_left(connection: &Connection, channels: usize) {
    while !matches!(connection.state(), State::Open) || connection.metrics().channels > channels {
        sleep(PAUSE).await;
    }
    let metrics = connection.metrics();
    let held = (metrics.calls, metrics.unconfirmed, metrics.unacked, metrics.channels);
    assert_eq!(held, (0, 0, 0, channels), "{metrics:?}");
    // The recovery task waits for the next loss.
    assert_eq!(metrics.waiting, 1, "{metrics:?}");
}
