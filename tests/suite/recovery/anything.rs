//! Random sequences of operations, over links that break at random frames: the account is
//! consistent, nobody waits endlessly, and each call gets its own answer.

use std::{future::ready, time::Duration};

use amqp_broker::Broker;
use amqp_client::{
    Channel, Confirm, Connection, ConsumeOptions, Consumer, Delivery, Error, GetOptions, Message, Publisher,
    Queue, Result, Route, Uri,
};
use proptest::{collection::vec, prelude::*, sample::select};
use tests::{Break, Direction, FrameLinks, Kind, Ledger, Outcome, Place, Receipt, scale};
use tokio::{
    join,
    time::{sleep, timeout},
};

use super::session::{again, is_loss, nothing_left, options, outcome};

const QUEUES: [&str; 2] = ["one", "two"];
const CHANNELS: usize = 3;

const HEARTBEAT: Duration = Duration::from_secs(10);

/// The deadline on the test's virtual clock. Each stall costs two heartbeats.
const DEADLINE: Duration = Duration::from_secs(3600);

/// How long a consumer is listened to.
const PAUSE: Duration = Duration::from_millis(50);

/// An operation of the user. Numbers of channels and queues are taken modulo their count.
#[derive(Clone, Copy, Debug)]
enum Act {
    Open,
    Close(usize),
    DropChannel(usize),
    Publish {
        channel: usize,
        queue: usize,
        republish: bool,
        size: usize,
    },
    PublishNowhere {
        channel: usize,
        republish: bool,
    },
    /// Waits for the outcomes of all publishes.
    Settle,
    /// Drops the confirms.
    Forget,
    Flush(usize),
    Consume {
        channel: usize,
        queue: usize,
        prefetch: u16,
    },
    Cancel(usize),
    DropConsumer(usize),
    /// Takes so many deliveries, if they come, and keeps them.
    Receive {
        channel: usize,
        count: usize,
    },
    Get {
        channel: usize,
        queue: usize,
    },
    /// Acknowledges one of the kept deliveries.
    Ack(usize),
    Nack(usize),
    Hold(usize),
    /// Makes several calls at once, and checks their answers.
    InStep(usize),
    /// Begins a call and does not wait for its end.
    Abandon {
        channel: usize,
        call: usize,
    },
    /// Lets time pass.
    Sleep(u64),
}

fn acts() -> impl Strategy<Value = Act> {
    let channel = || 0..CHANNELS;
    let queue = || 0..QUEUES.len();
    let size = select(&[1_usize, 100, 5000][..]);
    prop_oneof![
        3 => Just(Act::Open),
        1 => channel().prop_map(Act::Close),
        1 => channel().prop_map(Act::DropChannel),
        6 => (channel(), queue(), any::<bool>(), size)
            .prop_map(|(channel, queue, republish, size)| Act::Publish { channel, queue, republish, size }),
        1 => (channel(), any::<bool>()).prop_map(|(channel, republish)| Act::PublishNowhere { channel, republish }),
        2 => Just(Act::Settle),
        1 => Just(Act::Forget),
        1 => channel().prop_map(Act::Flush),
        5 => (channel(), queue(), 1..4_u16)
            .prop_map(|(channel, queue, prefetch)| Act::Consume { channel, queue, prefetch }),
        1 => channel().prop_map(Act::Cancel),
        1 => channel().prop_map(Act::DropConsumer),
        4 => (channel(), 1..4_usize).prop_map(|(channel, count)| Act::Receive { channel, count }),
        2 => (channel(), queue()).prop_map(|(channel, queue)| Act::Get { channel, queue }),
        4 => (0..4_usize).prop_map(Act::Ack),
        1 => (0..4_usize).prop_map(Act::Nack),
        1 => (0..4_usize).prop_map(Act::Hold),
        2 => channel().prop_map(Act::InStep),
        2 => (channel(), 0..5_usize).prop_map(|(channel, call)| Act::Abandon { channel, call }),
        1 => (1..3000_u64).prop_map(Act::Sleep),
    ]
}

fn breaks() -> impl Strategy<Value = Break> {
    let direction = select(&[Direction::ToBroker, Direction::ToClient][..]);
    let kind = prop_oneof![3 => Just(Kind::Cut), 1 => Just(Kind::Stall)];
    // A restoration comes early on a link.
    let frame = prop_oneof![1..60_usize, 5..25_usize];
    (1..5_usize, direction, frame, select(&Place::ALL[..]), kind)
        .prop_map(|(link, direction, frame, place, kind)| Break { link, direction, frame, place, kind })
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 200 * u32::try_from(scale()).unwrap(),
        failure_persistence: None,
        max_shrink_iters: 500,
        ..ProptestConfig::default()
    })]

    #[test]
    fn whatever_is_done_and_wherever_links_break_the_account_adds_up(
        acts in vec(acts(), 1..60),
        breaks in vec(breaks(), 0..5),
    ) {
        run(&acts, &breaks);
    }
}

fn run(acts: &[Act], breaks: &[Break]) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let broker = Broker::builder().heartbeat(HEARTBEAT).build();
        let links = FrameLinks::new();
        breaks.iter().for_each(|at| links.break_at(*at));
        let running = async {
            let connection = connect(&broker, &links).await;
            let mut user = User::new(connection).await;
            for act in acts {
                user.act(*act).await;
            }
            let ledger = user.finish().await;
            settle(&broker, &ledger).await;
        };
        timeout(DEADLINE, running).await.expect("something waits for ever");
    });
}

async fn connect(broker: &Broker, links: &FrameLinks) -> Connection {
    let (broker, links) = (broker.clone(), links.clone());
    let connector = move || ready(Ok(links.to(broker.connect())));
    // A call may wait for several stalls, one after the other.
    let options = options().heartbeat(HEARTBEAT).call_timeout(DEADLINE / 4);
    options.connect_with(connector, &Uri::default()).await.unwrap()
}

/// Takes what is left in the queues, when the broker has removed the lost connections.
async fn settle(broker: &Broker, ledger: &Ledger) {
    while !broker.connections().is_empty() {
        sleep(HEARTBEAT).await;
    }
    let connection = connect(broker, &FrameLinks::new()).await;
    let channel = connection.open_channel().await.unwrap();
    for queue in QUEUES {
        while let Some(delivery) = channel.get(queue, GetOptions::new()).await.unwrap() {
            let receipt = delivered(ledger, &delivery);
            delivery.ack().await.unwrap();
            ledger.ack(receipt, true);
        }
    }
    connection.close().await.unwrap();
    ledger.check();
}

fn delivered(ledger: &Ledger, delivery: &Delivery) -> Receipt {
    let number = std::str::from_utf8(delivery.body()).unwrap().trim_end_matches('.').parse().unwrap();
    ledger.deliver(number, delivery.redelivered())
}

/// A user with a few channels and their handles.
struct User {
    connection: Connection,
    ledger: Ledger,
    channels: Vec<Used>,
    confirms: Vec<(u64, Confirm)>,
    held: Vec<(Delivery, Receipt)>,
}

struct Used {
    channel: Channel,
    publisher: Publisher,
    republisher: Publisher,
    consumers: Vec<Consumer>,
}

impl User {
    async fn new(connection: Connection) -> Self {
        let channel = again(|| connection.open_channel()).await;
        for queue in QUEUES {
            let queue = Queue::durable(queue);
            again(|| channel.declare(&queue)).await;
        }
        drop(channel);
        let (channels, confirms, held) = (Vec::new(), Vec::new(), Vec::new());
        let mut user = User { connection, ledger: Ledger::new(), channels, confirms, held };
        user.open().await;
        user
    }

    async fn act(&mut self, act: Act) {
        match act {
            Act::Open if self.channels.len() < CHANNELS => self.open().await,
            Act::Open => {}
            Act::Close(index) => {
                if let Some(used) = self.take(index) {
                    used.channel.close().await.unwrap();
                }
            }
            Act::DropChannel(index) => drop(self.take(index)),
            Act::Publish { channel, queue, republish, size } => {
                self.publish(channel, QUEUES[queue], republish, size).await;
            }
            Act::PublishNowhere { channel, republish } => {
                self.publish(channel, "nowhere", republish, 10).await;
            }
            Act::Settle => self.settle().await,
            Act::Forget => {
                for (number, _) in self.confirms.drain(..) {
                    self.ledger.settle(number, Outcome::Forgotten);
                }
            }
            Act::Flush(index) => {
                if let Some(used) = self.used(index) {
                    match used.publisher.flush().await {
                        Err(Error::PublishLost(_)) => {}
                        flushed => flushed.unwrap(),
                    }
                }
            }
            Act::Consume { channel, queue, prefetch } => {
                if let Some(used) = self.used(channel) {
                    let options = || ConsumeOptions::new().prefetch(prefetch);
                    let consumer = again(|| used.channel.consume(QUEUES[queue], options())).await;
                    used.consumers.push(consumer);
                }
            }
            Act::Cancel(index) => self.cancel(index).await,
            Act::DropConsumer(index) => drop(self.used(index).and_then(|used| used.consumers.pop())),
            Act::Receive { channel, count } => self.receive(channel, count).await,
            Act::Get { channel, queue } => {
                if let Some(used) = self.used(channel)
                    && let Some(delivery) = again(|| used.channel.get(QUEUES[queue], GetOptions::new())).await
                {
                    self.hold(delivery);
                }
            }
            Act::Ack(index) => {
                if let Some((delivery, receipt)) = self.take_held(index) {
                    let acked = delivery.ack().await;
                    self.ledger.ack(receipt, is_settled(acked));
                }
            }
            Act::Nack(index) => {
                if let Some((delivery, receipt)) = self.take_held(index) {
                    is_settled(delivery.nack(true).await);
                    self.ledger.ack(receipt, false);
                }
            }
            // It is never settled, so it is delivered again when its channel ends.
            Act::Hold(index) => {
                if let Some((_, receipt)) = self.take_held(index) {
                    self.ledger.ack(receipt, false);
                }
            }
            Act::InStep(index) => {
                if let Some(used) = self.used(index) {
                    in_step(&used.channel).await;
                }
            }
            Act::Abandon { channel, call } => self.abandon(channel, call).await,
            Act::Sleep(milliseconds) => sleep(Duration::from_millis(milliseconds)).await,
        }
    }

    async fn open(&mut self) {
        let channel = again(|| self.connection.open_channel()).await;
        let publisher = again(|| channel.publisher()).await;
        let republisher = publisher.clone().republish(true);
        self.channels.push(Used { channel, publisher, republisher, consumers: Vec::new() });
    }

    async fn publish(&mut self, channel: usize, queue: &str, republish: bool, size: usize) {
        let number = self.ledger.publish(republish);
        let Some(used) = self.used(channel) else {
            return self.ledger.settle(number, Outcome::Forgotten);
        };
        let publisher = if republish { &used.republisher } else { &used.publisher };
        let confirm = publisher
            .publish(Route::new("", queue).mandatory(true), Message::new(format!("{number:.<size$}")))
            .await;
        self.confirms.push((number, confirm.unwrap()));
    }

    async fn settle(&mut self) {
        for (number, confirm) in self.confirms.drain(..) {
            self.ledger.settle(number, outcome(confirm).await);
        }
    }

    async fn cancel(&mut self, index: usize) {
        let Some(mut consumer) = self.used(index).and_then(|used| used.consumers.pop()) else { return };
        match consumer.cancel().await {
            Err(error) if is_loss(&error) => {}
            cancelled => cancelled.unwrap(),
        }
        while let Some(delivery) = consumer.recv().await {
            self.hold(delivery.unwrap());
        }
    }

    async fn receive(&mut self, index: usize, count: usize) {
        for _ in 0..count {
            let Some(consumer) = self.used(index).and_then(|used| used.consumers.last_mut()) else { return };
            let Ok(delivery) = timeout(PAUSE, consumer.recv()).await else { return };
            self.hold(delivery.unwrap().unwrap());
        }
    }

    /// Checks that no consumer has ended unless the user ended it.
    async fn hear_consumers(&mut self, index: usize) {
        let consumers = std::mem::take(&mut self.channels[index].consumers);
        for mut consumer in consumers {
            if let Ok(delivery) = timeout(PAUSE, consumer.recv()).await {
                self.hold(delivery.unwrap().unwrap());
            }
        }
    }

    /// Drops the future after its first poll, which may have sent something.
    async fn abandon(&mut self, index: usize, call: usize) {
        let Some(used) = self.used(index) else { return };
        let channel = &used.channel;
        let once = Duration::ZERO;
        let queue = Queue::durable(QUEUES[0]);
        match call {
            0 => drop(timeout(once, channel.declare(queue.clone().passive(true))).await),
            1 => drop(
                timeout(once, channel.get(QUEUES[0], GetOptions::new())).await.map(|got| got.map(|_| ())),
            ),
            2 => drop(timeout(once, channel.consume(QUEUES[0], ConsumeOptions::new().prefetch(1))).await),
            3 => drop(timeout(once, used.publisher.flush()).await),
            _ => drop(timeout(once, self.connection.open_channel()).await),
        }
    }

    /// Checks that everything is in order, and nothing is left.
    async fn finish(mut self) -> Ledger {
        self.settle().await;
        for index in 0..self.channels.len() {
            in_step(&self.channels[index].channel).await;
            self.hear_consumers(index).await;
        }
        for (_, receipt) in self.held.drain(..) {
            self.ledger.ack(receipt, false);
        }
        for used in self.channels.drain(..) {
            used.channel.close().await.unwrap();
        }
        nothing_left(&self.connection, 0).await;
        self.connection.close().await.unwrap();
        let metrics = self.connection.metrics();
        assert_eq!((metrics.calls, metrics.waiting), (0, 0), "{metrics:?}");
        self.ledger
    }

    fn used(&mut self, index: usize) -> Option<&mut Used> {
        let count = self.channels.len().max(1);
        self.channels.get_mut(index % count)
    }

    fn take(&mut self, index: usize) -> Option<Used> {
        let used = self.used(index)?.channel.id();
        let index = self.channels.iter().position(|other| other.channel.id() == used)?;
        Some(self.channels.swap_remove(index))
    }

    fn take_held(&mut self, index: usize) -> Option<(Delivery, Receipt)> {
        (!self.held.is_empty()).then(|| self.held.swap_remove(index % self.held.len()))
    }

    fn hold(&mut self, delivery: Delivery) {
        let receipt = delivered(&self.ledger, &delivery);
        self.held.push((delivery, receipt));
    }
}

/// Tells whether a delivery could be settled. It cannot if its connection was lost or its channel
/// closed.
fn is_settled(settled: Result<()>) -> bool {
    match settled {
        Ok(()) => true,
        Err(Error::StaleDelivery { .. } | Error::ChannelEnded { .. }) => false,
        Err(error) => panic!("{error}"),
    }
}

async fn in_step(channel: &Channel) {
    let (one, two) = (Queue::durable(QUEUES[0]), Queue::durable(QUEUES[1]));
    let (first, second, third) = join!(
        again(|| channel.declare(one.clone().passive(true))),
        again(|| channel.declare(two.clone().passive(true))),
        again(|| channel.declare(one.clone().passive(true))),
    );
    assert_eq!([first.name, second.name, third.name], ["one", "two", "one"]);
}
