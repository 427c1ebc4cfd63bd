//! The connections of a transport: its state, their events, their metrics, and health probes.

use std::time::Duration;

use amqp_broker::{Broker as Embedded, PublishFault};
use amqp_client::Uri;
use futures_util::{FutureExt as _, StreamExt as _};
use messaging::{
    Backoff, ClientError, ConnectionEvents, ConnectionState, Context, Error, Event, Exchange, Incoming,
    Outcome, PublishOptions, Queue, Recovery, ReplyCode, Report, RetryPolicy, Role, Target, Transport,
    TransportOptions, Undelivered, mailbox,
    notify::{self, Level, NotificationResult},
    rpc::Endpoint,
};
use serde_json::json;
use tests::{Direction, Lingering, RabbitMq};
use tokio::sync::mpsc::unbounded_channel;

use super::{
    fixture::{Broker, impatient, within},
    on_every_broker_and_redis,
};
use crate::log::Log;

/// A recovery with short pauses.
fn soon() -> Recovery {
    Recovery::new().backoff(Backoff::new(Duration::from_millis(5), Duration::from_millis(20)))
}

fn undelivered(result: Result<messaging::Published, Error>) -> Undelivered {
    match result {
        Err(Error::Undelivered(undelivered)) => *undelivered,
        other => panic!("{other:?}"),
    }
}

/// Nobody learns the outcome of a publish whose future was dropped, but the return is an event.
async fn a_return_of_an_abandoned_publish_is_an_event(broker: Broker) {
    let transport = broker.transport().await;
    let (queue, nowhere) = (broker.name("q"), broker.name("nowhere"));
    let needs = PublishOptions::new().declare(Queue::new(&queue).exclusive(true));
    let producer = transport.producer(Exchange::default());
    within(producer.ensure_publish((&queue, &needs), &0)).await.unwrap();
    let mut events = transport.events();
    assert!(producer.ensure_publish(&nowhere, &1).now_or_never().is_none());
    let is_it = |event: &Event| match event {
        Event::Returned { exchange, routing_key, code, text, .. } => {
            assert_eq!((exchange.as_str(), routing_key), ("", &nowhere));
            assert_eq!((*code, text.as_str()), (ReplyCode::NO_ROUTE, "NO_ROUTE"));
            true
        }
        _ => false,
    };
    until(&mut events, Role::Publish, is_it).await;
}

/// Waits for such an event of this connection; returns the events up to it.
async fn until(events: &mut ConnectionEvents, of: Role, is_it: impl Fn(&Event) -> bool) -> Vec<Event> {
    let mut came = Vec::new();
    loop {
        let event = within(events.recv()).await.expect("it is over");
        if event.connection == of {
            came.push(event.event);
            if is_it(came.last().unwrap()) {
                return came;
            }
        }
    }
}

fn connects(events: &[Event]) -> usize {
    events.iter().filter(|event| matches!(event, Event::Connected)).count()
}

async fn a_transport_is_healthy_and_counts_what_it_has_done(broker: Broker) {
    let transport = TransportOptions::new().lazy(&broker.url).unwrap();
    assert!(matches!(transport.state(), ConnectionState::Idle));
    assert!(within(transport.health(Duration::from_secs(10))).await.unwrap() > Duration::ZERO);
    assert!(matches!(transport.state_of(Role::Publish), ConnectionState::Connected));
    assert!(matches!(transport.state_of(Role::Consume), ConnectionState::Idle));

    let queue = Queue::new(broker.name("q")).auto_delete(true);
    let mut consumer = transport.consumer(queue.clone()).start::<u32>().await.unwrap();
    let producer = transport.producer(Exchange::default());
    for number in 0..3 {
        producer.ensure_publish(queue.name(), &number).await.unwrap();
    }
    assert_eq!(undelivered(producer.ensure_publish(&broker.name("nowhere"), &1).await).attempts, 1);
    within(consumer.recv()).await.unwrap().unwrap().ack().await.unwrap();
    let held = [within(consumer.recv()).await, within(consumer.recv()).await];
    within(transport.health(Duration::from_secs(10))).await.unwrap();
    assert!(matches!(transport.state(), ConnectionState::Connected));

    let metrics = transport.metrics();
    assert_eq!((metrics.published, metrics.confirmed, metrics.returned), (4, 4, 1), "{metrics:?}");
    assert_eq!((metrics.delivered, metrics.acked, metrics.unacked), (3, 1, 2), "{metrics:?}");
    assert_eq!((metrics.nacked, metrics.retried, metrics.unconfirmed, metrics.reconnects), (0, 0, 0, 0));
    drop((held, consumer));
    transport.close().await.unwrap();
    assert!(matches!(transport.state(), ConnectionState::Closed));
    assert!(matches!(transport.health(Duration::from_secs(10)).await, Err(Error::Closed)));
    assert_eq!(transport.metrics().published, 4, "what was done is still known");
}

async fn on_the_default_exchange_a_queue_has_to_be_there(broker: Broker) {
    let transport = broker.transport().await;
    let nowhere = broker.name("nowhere");
    let producer = transport.producer(Exchange::default());
    let failure = undelivered(within(producer.ensure_publish(&nowhere, &1)).await);
    assert_eq!((failure.outcome, failure.attempts), (Outcome::Unroutable, 1));
    within(producer.clone().mandatory(false).ensure_publish(&nowhere, &1)).await.unwrap();
    let optional = PublishOptions::new().mandatory(false);
    within(producer.ensure_publish((&nowhere, &optional), &1)).await.unwrap();
    // On other brokers nobody needs to consume it.
    let events = Exchange::topic(broker.name("events")).auto_delete(true);
    within(transport.producer(events).ensure_publish(&nowhere, &1)).await.unwrap();
    transport.close().await.unwrap();
}

on_every_broker_and_redis! {
    ;
    a_transport_is_healthy_and_counts_what_it_has_done,
    on_the_default_exchange_a_queue_has_to_be_there,
    a_return_of_an_abandoned_publish_is_an_event,
}

async fn one_that_recovers_is_the_only_one_and_is_told_of(broker: Broker) {
    let (mut proxy, url) = broker.proxied().await;
    let transport = TransportOptions::new().recovery(soon()).lazy(&url).unwrap();
    let mut events = transport.events();
    let queue = Queue::new(broker.name("q")).auto_delete(true);
    let mut consumer = transport.consumer(queue.clone()).start::<u32>().await.unwrap();
    proxy.refuse(true).await.unwrap();
    proxy.cut();
    let mut came =
        until(&mut events, Role::Consume, |event| matches!(event, Event::Reconnecting { attempt: 3, .. }))
            .await;
    let state = transport.state();
    assert!(matches!(state, ConnectionState::Recovering { attempt: 3.., .. }), "{state:?}");
    let unhealthy = within(transport.health(Duration::from_millis(300))).await.unwrap_err();
    assert!(matches!(unhealthy, Error::Connect { .. } | Error::Broker { .. }), "{unhealthy}");
    // Others that need the connection meanwhile wait for the same attempt.
    let subscription = transport.consumer(Queue::new(broker.name("other")).auto_delete(true));
    let other = tokio::spawn(async move { subscription.start::<u32>().await });
    proxy.refuse(false).await.unwrap();
    within(other).await.unwrap().unwrap();
    came.extend(until(&mut events, Role::Consume, |event| matches!(event, Event::Recovered(_))).await);
    assert_eq!(connects(&came), 1, "{came:?}");
    assert!(came.iter().any(|event| matches!(event, Event::NotConnected { attempt: 2, .. })), "{came:?}");
    transport
        .producer(Exchange::default())
        .retry(impatient())
        .ensure_publish(queue.name(), &7)
        .await
        .unwrap();
    assert_eq!(*within(consumer.recv()).await.unwrap().unwrap().body(), 7);
    assert_eq!(transport.metrics().reconnects, 1);
    transport.close().await.unwrap();
    let rest = until(&mut events, Role::Consume, |event| matches!(event, Event::Closed(_))).await;
    assert_eq!(connects(&rest), 0, "{rest:?}");
    while let Some(event) = within(events.recv()).await {
        assert!(matches!(event.connection, Role::Publish), "{event:?}");
    }
    assert!(within(transport.events().recv()).await.is_none(), "all was told");
}

async fn closing_ends_one_that_is_being_recovered(broker: Broker) {
    let (mut proxy, url) = broker.proxied().await;
    let transport = TransportOptions::new().recovery(soon()).lazy(&url).unwrap();
    let mut events = transport.events();
    let queue = Queue::new(broker.name("q")).auto_delete(true);
    let mut consumer = transport.consumer(queue.clone()).start::<u32>().await.unwrap();
    proxy.refuse(true).await.unwrap();
    proxy.cut();
    until(&mut events, Role::Consume, |event| matches!(event, Event::Reconnecting { attempt: 2, .. })).await;
    within(transport.close()).await.unwrap();
    assert!(matches!(within(consumer.recv()).await, Some(Err(Error::ConsumerEnded { .. }))));
    proxy.refuse(false).await.unwrap();
    let rest = until(&mut events, Role::Consume, |event| matches!(event, Event::Closed(_))).await;
    assert!(!rest.iter().any(|event| matches!(event, Event::Recovered(_))), "{rest:?}");
    assert!(within(events.recv()).await.is_none());
    assert!(matches!(transport.consumer(queue).start::<u32>().await, Err(Error::Closed)));
}

async fn a_first_connection_is_waited_for_where_that_is_wanted(broker: Broker) {
    let (mut proxy, url) = broker.proxied().await;
    proxy.refuse(true).await.unwrap();
    let options = TransportOptions::new().recovery(soon().first_connect(true));
    let transport = options.clone().lazy(&url).unwrap();
    let mut events = transport.events();
    let queue = Queue::new(broker.name("q")).auto_delete(true);
    let subscription = transport.consumer(queue.clone());
    let starting = tokio::spawn(async move { subscription.start::<u32>().await });
    let connecting = tokio::spawn(async move { options.connect(&url).await });
    let came =
        until(&mut events, Role::Consume, |event| matches!(event, Event::Reconnecting { attempt: 3, .. }))
            .await;
    assert!(matches!(came[0], Event::NotConnected { attempt: 1, .. }), "{came:?}");
    assert!(matches!(transport.state(), ConnectionState::Connecting { attempt: 3.. }));
    proxy.refuse(false).await.unwrap();
    let mut consumer = within(starting).await.unwrap().unwrap();
    let other = within(connecting).await.unwrap().unwrap();
    other.producer(Exchange::default()).ensure_publish(queue.name(), &7).await.unwrap();
    assert_eq!(*within(consumer.recv()).await.unwrap().unwrap().body(), 7);
    other.close().await.unwrap();
    transport.close().await.unwrap();
}

/// Each starts by itself, as at the start of a process.
async fn who_consumes_starts_before_the_broker_where_that_is_wanted(broker: Broker) {
    let (mut proxy, url) = broker.proxied().await;
    proxy.refuse(true).await.unwrap();
    let options = TransportOptions::new().recovery(soon().first_connect(true));
    let transport = options.lazy(&url).unwrap();
    let mut events = transport.events();
    let queue = Queue::new(broker.name("q")).auto_delete(true);
    let (topic, notified, namespace) = (broker.name("t"), broker.name("n"), broker.name("ns"));
    let (worked, mut works) = unbounded_channel();
    let heard = worked.clone();
    let worker = transport.worker(queue.clone()).start(move |number: Incoming<u32>| {
        worked.send(*number.body()).unwrap();
        async { Ok::<_, String>(()) }
    });
    let endpoint = Endpoint::new().method("now", |_, (): ()| async { Ok("now") });
    let server = transport.rpc_server(Target::topic(&topic).server("s1")).endpoint(endpoint).start();
    let listener = transport.listener(&notified).on(Level::Info, move |event: notify::Event| {
        heard.send(event.payload().unwrap()).unwrap();
        async { NotificationResult::Handled }
    });
    let node = transport.mailbox(&namespace).open().node("w1");
    let node = node.handler("who", |_: mailbox::Request, (): ()| async { Ok::<_, String>("w1") });
    let (worker, server) = (tokio::spawn(worker), tokio::spawn(server));
    let (listener, node) = (tokio::spawn(listener.start()), tokio::spawn(node.start()));
    until(&mut events, Role::Consume, |event| matches!(event, Event::Reconnecting { attempt: 3, .. })).await;
    let started = [worker.is_finished(), server.is_finished(), listener.is_finished(), node.is_finished()];
    assert_eq!(started, [false; 4]);
    proxy.refuse(false).await.unwrap();
    let worker = within(worker).await.unwrap().unwrap();
    let server = within(server).await.unwrap().unwrap();
    let listener = within(listener).await.unwrap().unwrap();
    let node = within(node).await.unwrap().unwrap();

    let other = broker.transport().await;
    other.producer(Exchange::default()).ensure_publish(queue.name(), &7).await.unwrap();
    assert_eq!(within(works.recv()).await, Some(7));
    let client = other.rpc_client(Target::topic(&topic));
    assert_eq!(within(client.call::<String>("now", &()).into_future()).await.unwrap(), "now");
    within(other.notifier("p", &notified).info(&Context::new(), "e", &8)).await.unwrap();
    assert_eq!(within(works.recv()).await, Some(8));
    let mailbox = other.mailbox(&namespace).open();
    let mut replies = within(mailbox.command("who").to(["w1"]).call()).await.unwrap();
    assert_eq!(within(replies.next()).await.unwrap().unwrap().answer(), &json!("w1"));
    within(worker.stop()).await;
    within(server.stop()).await.unwrap();
    within(listener.stop()).await;
    drop(node);
    transport.close().await.unwrap();
}

/// The connection is lost at any octet of the broker's answers, once.
async fn who_consumes_starts_over_a_connection_that_is_lost_where_that_is_wanted(broker: Broker) {
    let (proxy, url) = broker.proxied().await;
    let options = TransportOptions::new().recovery(soon().first_connect(true));
    let queue = Queue::new(broker.name("q")).auto_delete(true);
    for bytes in (1..1000).step_by(20) {
        proxy.cut_after(bytes, Direction::ToClient);
        let transport = options.clone().lazy(&url).unwrap();
        let subscription = transport.consumer(queue.clone());
        let started = within(subscription.start::<u32>()).await;
        assert!(started.is_ok(), "{bytes}: {}", Report(&started.err().unwrap()));
        transport.close().await.unwrap();
    }
}

async fn what_the_broker_holds_for_a_lost_connection_is_told(broker: Broker) {
    let address = Uri::parse(&broker.url).unwrap().address();
    let proxy = Lingering::start(&address).await.unwrap();
    let url = broker.url.replace(&address, &proxy.addr().to_string());
    let transport = within(TransportOptions::new().recovery(soon()).connect(&url)).await.unwrap();
    let queue = Queue::new(broker.name("mine")).exclusive(true);
    let mut consumer = within(transport.consumer(queue.clone()).start::<u32>()).await.unwrap();
    let mut events = transport.events();
    proxy.refuse(true);
    proxy.vanish();
    until(&mut events, Role::Consume, |event| matches!(event, Event::Disconnected(_))).await;
    proxy.refuse(false);
    let came =
        until(&mut events, Role::Consume, |event| matches!(event, Event::Held { attempt: 2, .. })).await;
    let Some(Event::Held { what, error, .. }) = came.last() else { panic!("{came:?}") };
    assert_eq!(*what, format!("queue {:?}", queue.name()));
    assert!(matches!(error, ClientError::QueueTaken { queue: of, .. } if of == queue.name()), "{error}");
    proxy.release();
    until(&mut events, Role::Consume, |event| matches!(event, Event::Released { .. })).await;
    let other = broker.transport().await;
    other.producer(Exchange::default()).ensure_publish(queue.name(), &7).await.unwrap();
    assert_eq!(*within(consumer.recv()).await.unwrap().unwrap().body(), 7);
}

async fn waiting_for_a_first_connection_ends_at_its_limits_and_by_closing(broker: Broker) {
    let (mut proxy, url) = broker.proxied().await;
    proxy.refuse(true).await.unwrap();
    let limited = TransportOptions::new().recovery(soon().first_connect(true).max_attempts(3));
    assert!(matches!(within(limited.connect(&url)).await, Err(Error::Connect { .. })));

    let patient = soon().first_connect(true).backoff(Backoff::new(Duration::from_secs(600), Duration::MAX));
    let transport = TransportOptions::new().recovery(patient.clone()).lazy(&url).unwrap();
    let mut events = transport.events();
    let subscription = transport.consumer(Queue::new(broker.name("q")));
    let starting = tokio::spawn(async move { subscription.start::<u32>().await });
    until(&mut events, Role::Consume, |event| matches!(event, Event::Reconnecting { .. })).await;
    within(transport.close()).await.unwrap();
    assert!(matches!(within(starting).await.unwrap(), Err(Error::Closed)));

    // Errors that further attempts cannot change are reported at once.
    proxy.refuse(false).await.unwrap();
    let mut stranger = Uri::parse(&url).unwrap();
    stranger.user = "nobody".to_owned();
    let url = format!("amqp://{}:{}@{}/", stranger.user, "wrong", stranger.address());
    let refused = within(TransportOptions::new().recovery(patient).connect(&url)).await.unwrap_err();
    assert!(Report(&refused).to_string().contains("refuses the login"), "{}", Report(&refused));
}

/// The same tests on brokers that are reached over TCP.
macro_rules! over_tcp {
    ($($name:ident),* $(,)?) => {
        mod embedded_over_tcp {
            $(#[tokio::test]
            async fn $name() {
                super::$name(super::Broker::embedded().await).await;
            })*
        }

        mod rabbitmq_over_tcp {
            $(#[tokio::test]
            async fn $name() {
                let test = concat!(module_path!(), "::", stringify!($name));
                if let Some(broker) = super::Broker::rabbitmq(test) {
                    super::$name(broker).await;
                }
            })*
        }
    };
}

over_tcp! {
    one_that_recovers_is_the_only_one_and_is_told_of,
    closing_ends_one_that_is_being_recovered,
    a_first_connection_is_waited_for_where_that_is_wanted,
    who_consumes_starts_before_the_broker_where_that_is_wanted,
    who_consumes_starts_over_a_connection_that_is_lost_where_that_is_wanted,
    what_the_broker_holds_for_a_lost_connection_is_told,
    waiting_for_a_first_connection_ends_at_its_limits_and_by_closing,
}

#[tokio::test]
async fn a_broker_that_is_silent_is_not_healthy() {
    let broker = Broker::embedded().await;
    let (proxy, url) = broker.proxied().await;
    let transport = Transport::connect(&url).await.unwrap();
    proxy.stall(true);
    let unhealthy = within(transport.health(Duration::from_millis(200))).await.unwrap_err();
    assert!(matches!(unhealthy, Error::Timeout { .. }), "{unhealthy}");
    proxy.stall(false);
    within(transport.health(Duration::from_secs(10))).await.unwrap();
}

/// Checks what a publish and a probe report while the broker blocks.
async fn is_blocked_for(transport: &Transport, queue: &str, reason: &str, log: &Log) {
    let brief = RetryPolicy::default().deadline(Duration::from_millis(300));
    let producer = transport.producer(Exchange::default()).retry(brief);
    // A publish that was on its way when the broker blocked may have left, so its outcome is
    // unknown. The next ones wait here.
    for _ in 0..2 {
        let failure = undelivered(within(producer.ensure_publish(queue, &1)).await);
        let said = Report(&failure).to_string();
        assert!(
            said.ends_with(&format!("cannot publish: the broker accepts no publishes: {reason}")),
            "{said}"
        );
    }
    let state = transport.state();
    assert!(matches!(&state, ConnectionState::Blocked { reason: said } if said == reason), "{state:?}");
    let unhealthy = within(transport.health(Duration::from_secs(10))).await.unwrap_err();
    assert!(Report(&unhealthy).to_string().ends_with(&format!("the broker accepts no publishes: {reason}")));
    let line = log.line("the broker accepts no publishes");
    let is_told = ["WARN", "name=\"shop (publish)\"", &format!("reason=\"{reason}\"")];
    assert!(is_told.iter().all(|part| line.contains(part)), "{line}");
}

#[tokio::test]
async fn a_broker_that_blocks_is_named_and_so_is_its_reason() {
    let broker = Embedded::builder().build();
    let (log, _guard) = Log::listen();
    let transport = TransportOptions::new().name("shop").on(&broker);
    let mut events = transport.events();
    let needs = PublishOptions::new().declare(Queue::new("q"));
    let producer = transport.producer(Exchange::default());
    producer.ensure_publish(("q", &needs), &1).await.unwrap();
    broker.faults().block("low on memory");
    is_blocked_for(&transport, "q", "low on memory", &log).await;
    broker.faults().unblock();
    until(&mut events, Role::Publish, |event| matches!(event, Event::Unblocked)).await;
    assert!(log.line("the broker accepts publishes again").contains("name=\"shop (publish)\""));
    producer.ensure_publish("q", &1).await.unwrap();
    within(transport.health(Duration::from_secs(10))).await.unwrap();
}

#[tokio::test]
async fn rabbitmq_that_is_short_of_memory_is_named_too() {
    if !RabbitMq::require("messaging::connections::rabbitmq_that_is_short_of_memory_is_named_too") {
        return;
    }
    let node = RabbitMq::start().await.unwrap();
    let (log, _guard) = Log::listen();
    let transport = TransportOptions::new().name("shop").connect(node.uri()).await.unwrap();
    let needs = PublishOptions::new().declare(Queue::durable("q"));
    transport.producer(Exchange::default()).ensure_publish(("q", &needs), &1).await.unwrap();
    node.ctl(&["set_vm_memory_high_watermark", "0.0000001"]).await.unwrap();
    is_blocked_for(&transport, "q", "low on memory", &log).await;
    node.ctl(&["set_vm_memory_high_watermark", "0.4"]).await.unwrap();
    transport.producer(Exchange::default()).ensure_publish("q", &1).await.unwrap();
    transport.close().await.unwrap();
    node.stop().await.unwrap();
}

#[tokio::test]
async fn a_test_has_its_own_broker_and_its_faults_by_connection_and_publish() {
    let broker = Embedded::builder().user("ada", "lovelace").vhost("lab").build();
    let options = TransportOptions::new().name("shop").broker(&broker);
    let refused = options.clone().connect("amqp://ada:wrong@anywhere/lab").await.unwrap_err();
    assert!(
        Report(&refused).to_string().contains("refuses the login of user \"ada\""),
        "{}",
        Report(&refused)
    );
    let transport = options.connect("amqp://ada:lovelace@anywhere/lab").await.unwrap();
    let needs = PublishOptions::new().declare(Queue::new("q"));
    let producer = transport.producer(Exchange::default()).retry(impatient());
    producer.ensure_publish(("q", &needs), &0).await.unwrap();

    broker.faults().at_publish_of("shop (publish)", 2, PublishFault::DropConnection);
    assert_eq!(producer.ensure_publish("q", &1).await.unwrap().attempts, 1);
    assert_eq!(producer.ensure_publish("q", &2).await.unwrap().attempts, 2);
    broker.faults().at_publish_of("shop (publish)", 1, PublishFault::Nack);
    assert_eq!(producer.ensure_publish("q", &3).await.unwrap().attempts, 2);
    let text = "PRECONDITION_FAILED - because".to_owned();
    broker.faults().at_publish(1, PublishFault::CloseChannel { code: 406, text });
    let failure = undelivered(producer.ensure_publish("q", &4).await);
    assert!(Report(&failure).to_string().contains("because"), "{}", Report(&failure));
    assert_eq!(broker.faults().drop_connections_named("shop (publish)"), 1);
    producer.ensure_publish("q", &5).await.unwrap();

    assert_eq!(broker.queue("lab", "q").unwrap().ready, 5);
    let metrics = transport.metrics();
    assert_eq!((metrics.nacked, metrics.reconnects), (1, 2), "{metrics:?}");
    assert!(metrics.retried >= 2, "{metrics:?}");
}
