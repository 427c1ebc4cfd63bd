//! What subscriptions survive, in a consumer and in a worker, and what ends them.

use std::time::{Duration, Instant};

use amqp_client::{DeleteOptions, Uri};
use messaging::{
    Consumer, ConsumerBuilder, Error, Exchange, Incoming, Queue, ReplyCode, StreamOffset, Transport,
    TransportOptions, Worker, WorkerBuilder,
};
use tests::{Lingering, Node};
use tokio::sync::mpsc;

use super::{
    fixture::{Broker, within},
    on_every_broker_and_redis, on_tcp_brokers,
};

/// What numbers are taken from, and how.
struct Source {
    queue: Queue,
    is_exclusive: bool,
    offset: Option<StreamOffset>,
}

impl From<Queue> for Source {
    fn from(queue: Queue) -> Self {
        Source { queue, is_exclusive: false, offset: None }
    }
}

/// A source of numbers: a consumer, or a worker's handler.
enum Taking {
    Consumer(Box<Consumer<u32>>),
    Worker(Worker, mpsc::UnboundedReceiver<u32>),
}

impl Taking {
    /// Both kinds.
    const KINDS: [&str; 2] = ["consumer", "worker"];

    async fn start(kind: &str, transport: &Transport, source: impl Into<Source>) -> Result<Self, Error> {
        let Source { queue, is_exclusive, offset } = source.into();
        if kind == "consumer" {
            let consumer = transport.consumer(queue).exclusive(is_exclusive);
            let consumer = offset.into_iter().fold(consumer, ConsumerBuilder::stream_offset);
            return Ok(Taking::Consumer(Box::new(within(consumer.start()).await?)));
        }
        let (sender, receiver) = mpsc::unbounded_channel();
        let handler = move |message: Incoming<u32>| {
            let sent = sender.send(message.into_body());
            async move { sent.map_err(|_| "nobody listens") }
        };
        let worker = transport.worker(queue).exclusive(is_exclusive);
        let worker = offset.into_iter().fold(worker, WorkerBuilder::stream_offset);
        Ok(Taking::Worker(within(worker.start(handler)).await?, receiver))
    }

    async fn next(&mut self) -> u32 {
        match self {
            Taking::Consumer(consumer) => {
                let delivery = within(consumer.recv()).await.unwrap().unwrap();
                let number = *delivery.body();
                delivery.ack().await.unwrap();
                number
            }
            Taking::Worker(_, taken) => within(taken.recv()).await.unwrap(),
        }
    }

    /// As `next`, after those whose acknowledgement was lost.
    async fn next_but(&mut self, before: u32) -> u32 {
        loop {
            match self.next().await {
                number if number == before => {}
                number => return number,
            }
        }
    }

    async fn end(&mut self) -> Error {
        match self {
            Taking::Consumer(consumer) => {
                let end = within(consumer.recv()).await.unwrap();
                assert!(within(consumer.recv()).await.is_none());
                end.err().unwrap()
            }
            Taking::Worker(worker, _) => within(worker.wait()).await.unwrap_err(),
        }
    }
}

async fn publish(transport: &Transport, queue: &str, numbers: impl IntoIterator<Item = u32>) {
    let producer = transport.producer(Exchange::default()).mandatory(true);
    for number in numbers {
        within(producer.ensure_publish(queue, &number)).await.unwrap();
    }
}

/// A transport over a proxy that can leave connections behind.
async fn lingering(broker: &Broker, options: TransportOptions) -> (Lingering, Transport) {
    let address = Uri::parse(&broker.url).unwrap().address();
    let proxy = Lingering::start(&address).await.unwrap();
    let url = broker.url.replacen(&address, &proxy.addr().to_string(), 1);
    let transport = within(options.connect(&url)).await.unwrap();
    (proxy, transport)
}

async fn a_queue_that_is_deleted_is_declared_again_and_consumed_from(broker: Broker) {
    let transport = broker.transport().await;
    for kind in Taking::KINDS {
        let queue = broker.name(kind);
        let mut taking = Taking::start(kind, &transport, Queue::new(&queue)).await.unwrap();
        publish(&transport, &queue, [1]).await;
        assert_eq!(taking.next().await, 1);
        broker.channel().await.delete_queue(&queue, DeleteOptions::new()).await.unwrap();
        let again = async {
            let producer = transport.producer(Exchange::default()).wait_for_route(true);
            within(producer.mandatory(true).ensure_publish(&queue, &2)).await.unwrap();
        };
        let (number, ()) = tokio::join!(taking.next(), again);
        assert_eq!(number, 2, "{kind}");
    }
}

/// Checks that nothing comes within a time in which it would.
async fn a_stream_is_gone_on_with_where_it_was(broker: Broker) {
    let other = broker.transport().await;
    for kind in Taking::KINDS {
        for offset in [None, Some(StreamOffset::First)] {
            let (proxy, transport) = lingering(&broker, TransportOptions::new()).await;
            let stream = Queue::stream(broker.name(&format!("{kind}-{offset:?}")));
            let source = Source { offset, ..stream.clone().into() };
            let mut taking = Taking::start(kind, &transport, source).await.unwrap();
            publish(&other, stream.name(), 1..=3).await;
            for number in 1..=3 {
                assert_eq!(taking.next().await, number, "{kind} from {offset:?}");
            }
            proxy.refuse(true);
            proxy.vanish();
            publish(&other, stream.name(), 4..=6).await;
            proxy.refuse(false);
            publish(&other, stream.name(), [7]).await;
            for number in 4..=7 {
                assert_eq!(taking.next().await, number, "{kind} from {offset:?}");
            }
            broker.channel().await.delete_queue(&stream, DeleteOptions::new()).await.unwrap();
        }
    }
}

async fn what_a_lost_connection_had_to_itself_is_had_back(broker: Broker) {
    for kind in Taking::KINDS {
        for is_queue in [true, false] {
            let (proxy, transport) = lingering(&broker, TransportOptions::new()).await;
            let name = broker.name(&format!("{kind}-{is_queue}"));
            let queue = Queue::new(&name).exclusive(is_queue);
            let source = Source { is_exclusive: !is_queue, ..queue.into() };
            let mut taking = Taking::start(kind, &transport, source).await.unwrap();
            publish(&transport, &name, [1]).await;
            assert_eq!(taking.next().await, 1);
            proxy.vanish();
            // This is long enough for a refusal.
            let still = tokio::time::timeout(Duration::from_millis(300), taking.next()).await;
            assert!(still.is_err(), "{kind}");
            proxy.release();
            let again = async {
                let producer = transport.producer(Exchange::default()).wait_for_route(true);
                within(producer.mandatory(true).ensure_publish(&name, &2)).await.unwrap();
            };
            let (number, ()) = tokio::join!(taking.next_but(1), again);
            assert_eq!(number, 2, "{kind}, exclusive queue: {is_queue}");
            if !is_queue {
                broker.channel().await.delete_queue(&name, DeleteOptions::new()).await.unwrap();
            }
        }
    }
}

async fn it_ends_at_the_deadline_and_says_what_is_taken(broker: Broker) {
    for kind in Taking::KINDS {
        let options = TransportOptions::new().wait_for_release(Duration::from_millis(500));
        let (proxy, transport) = lingering(&broker, options).await;
        let queue = Queue::new(broker.name(kind)).exclusive(true);
        let mut taking = Taking::start(kind, &transport, queue).await.unwrap();
        proxy.vanish();
        let error = taking.end().await;
        let Error::ConsumerEnded { source: Some(source), .. } = &error else { panic!("{kind}: {error}") };
        assert!(source.is_taken(), "{kind}: {error}");
    }
}

async fn what_is_taken_from_the_start_is_told_at_once(broker: Broker) {
    let (owner, other) = (broker.transport().await, broker.transport().await);
    let begun = Instant::now();
    for kind in Taking::KINDS {
        for is_queue in [true, false] {
            let name = broker.name(&format!("{kind}-{is_queue}"));
            let queue = Queue::new(&name).exclusive(is_queue);
            let source = || Source { is_exclusive: !is_queue, ..queue.clone().into() };
            let owning = Taking::start("consumer", &owner, source()).await.unwrap();
            let error = Taking::start(kind, &other, source()).await.err().unwrap();
            assert!(matches!(&error, Error::QueueTaken { queue, .. } if *queue == name), "{error}");
            drop(owning);
        }
    }
    assert!(begun.elapsed() < Duration::from_secs(10), "tried again in vain");
}

on_every_broker_and_redis! {
    a_queue_that_is_deleted_is_declared_again_and_consumed_from,
    what_is_taken_from_the_start_is_told_at_once,
}

on_tcp_brokers! {
    a_stream_is_gone_on_with_where_it_was,
    what_a_lost_connection_had_to_itself_is_had_back,
    it_ends_at_the_deadline_and_says_what_is_taken,
}

/// This happens when the replica that a stream is read from goes down.
#[tokio::test]
async fn a_stream_whose_consumer_is_cancelled_is_gone_on_with_unless_it_was_deleted() {
    let transport = Transport::connect("memory://subscriptions-cancelled").await.unwrap();
    let faults = amqp_broker::memory("subscriptions-cancelled").faults();
    for kind in Taking::KINDS {
        let stream = Queue::stream(kind);
        let source = Source { offset: Some(StreamOffset::First), ..stream.into() };
        let mut taking = Taking::start(kind, &transport, source).await.unwrap();
        publish(&transport, kind, 1..=3).await;
        for number in 1..=3 {
            assert_eq!(taking.next().await, number);
        }
        assert_eq!(faults.cancel_consumers("/", kind, None), 1);
        publish(&transport, kind, 4..=6).await;
        for number in 4..=6 {
            assert_eq!(taking.next().await, number, "{kind}");
        }
        faults.delete_queue("/", kind).unwrap();
        let again = async {
            let producer = transport.producer(Exchange::default()).wait_for_route(true);
            within(producer.mandatory(true).ensure_publish(kind, &7)).await.unwrap();
        };
        let (number, ()) = tokio::join!(taking.next(), again);
        assert_eq!(number, 7, "{kind}: the new stream from its beginning");
    }
}

/// `forbid` takes the permission to consume away, and ends the connections.
async fn it_ends_when_its_user_may_not_consume_any_more(
    (kind, queue): (&'static str, &str),
    url: &str,
    forbid: impl Future<Output = ()>,
) {
    let transport = Transport::connect(url).await.unwrap();
    let mut taking = Taking::start(kind, &transport, Queue::new(queue).auto_delete(true)).await.unwrap();
    publish(&transport, queue, [1]).await;
    assert_eq!(taking.next().await, 1);
    forbid.await;
    let error = taking.end().await;
    let Error::ConsumerEnded { source: Some(source), .. } = &error else { panic!("{kind}: {error}") };
    assert_eq!(source.reply_code(), Some(ReplyCode::ACCESS_REFUSED), "{kind}: {error}");
    assert!(!source.is_taken());
}

#[tokio::test]
async fn it_ends_when_its_user_may_not_consume_any_more_from_the_embedded_broker() {
    for kind in Taking::KINDS {
        let broker = amqp_broker::Broker::builder().build();
        let listener = broker.listen("127.0.0.1:0").await.unwrap();
        let url = format!("amqp://{}/", listener.local_addr());
        let forbid = async {
            let may = amqp_broker::Permissions::new(".*", ".*", "^other$").unwrap();
            broker.set_permissions("guest", "/", may);
            broker.faults().drop_connections();
        };
        it_ends_when_its_user_may_not_consume_any_more((kind, "q"), &url, forbid).await;
    }
}

#[tokio::test]
async fn it_ends_when_its_user_may_not_consume_any_more_from_rabbitmq() {
    let test = concat!(module_path!(), "::it_ends_when_its_user_may_not_consume_any_more_from_rabbitmq");
    let Some(node) = Node::require(test) else { return };
    for kind in Taking::KINDS {
        let user = format!("consumer-{}-{kind}", std::process::id());
        node.ctl(&["add_user", &user, "secret"]).await.unwrap();
        node.ctl(&["set_permissions", &user, ".*", ".*", ".*"]).await.unwrap();
        let forbid = async {
            node.ctl(&["set_permissions", &user, ".*", ".*", "^other$"]).await.unwrap();
            node.ctl(&["close_all_user_connections", &user, "test"]).await.unwrap();
        };
        let url = node.uri_for(&user, "secret", "/");
        it_ends_when_its_user_may_not_consume_any_more((kind, &user), &url, forbid).await;
        node.ctl(&["delete_user", &user]).await.unwrap();
    }
}
