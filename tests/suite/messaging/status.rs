//! The status of transports and workers, without asking the broker.

use std::{sync::Arc, time::SystemTime};

use amqp_broker::Broker as Embedded;
use amqp_client::Queue;
use messaging::{
    ConnectionState, Exchange, Incoming, PublishOptions, Role, Transport, TransportOptions, TransportStatus,
};
use tokio::sync::Semaphore;

use super::{
    fixture::{Broker, within},
    on_tcp_brokers,
};

/// Waits until the status is as wanted.
async fn until<T>(status: impl Fn() -> T, is_wanted: impl Fn(&T) -> bool) -> T {
    let waiting = async {
        loop {
            let status = status();
            if is_wanted(&status) {
                return status;
            }
            tokio::task::yield_now().await;
        }
    };
    within(waiting).await
}

fn of(status: &TransportStatus, role: Role) -> messaging::ConnectionStatus {
    status.connections.iter().find(|status| status.connection == role).unwrap().clone()
}

async fn a_lost_connection_is_told_with_its_time_and_reason(broker: Broker) {
    let (mut proxy, url) = broker.proxied().await;
    let transport = TransportOptions::new().lazy(&url).unwrap();
    let idle = transport.status();
    assert!(!idle.is_connected() && idle.last_error().is_none(), "{idle:?}");
    let _consumer = within(transport.consumer(Queue::new("").exclusive(true)).start::<u32>()).await.unwrap();
    let connected = transport.status();
    assert!(connected.is_connected() && connected.blocked().is_none(), "{connected:?}");
    let consuming = of(&connected, Role::Consume);
    assert!(consuming.is_connected() && consuming.since <= SystemTime::now(), "{consuming:?}");
    assert!(matches!(of(&connected, Role::Publish).state, ConnectionState::Idle));

    proxy.refuse(true).await.unwrap();
    proxy.cut();
    let lost = until(|| transport.status(), |status| !status.is_connected()).await;
    let lost = of(&lost, Role::Consume);
    assert!(lost.since >= consuming.since, "{lost:?}");
    until(|| transport.status(), |status| status.last_error().is_some()).await;

    proxy.refuse(false).await.unwrap();
    let again = until(|| transport.status(), TransportStatus::is_connected).await;
    assert!(of(&again, Role::Consume).since >= lost.since, "{again:?}");
    let failure = again.last_error().unwrap();
    assert!(failure.at >= lost.since && !failure.error.is_empty(), "{failure:?}");
    assert!(!format!("{again:?}").contains("guest"), "{again:?}");
    within(transport.close()).await.unwrap();
    let closed = transport.status();
    assert!(!closed.is_connected() && matches!(closed.connections[0].state, ConnectionState::Closed));
}

on_tcp_brokers!(a_lost_connection_is_told_with_its_time_and_reason);

#[tokio::test]
async fn a_broker_that_blocks_is_told_with_its_reason_and_what_waits_for_it() {
    let broker = Embedded::builder().build();
    let transport = Transport::on(&broker);
    let needs = PublishOptions::new().declare(Queue::new("q"));
    let producer = transport.producer(Exchange::default());
    within(producer.ensure_publish(("q", &needs), &1)).await.unwrap();
    assert_eq!((transport.status().blocked(), transport.status().in_flight()), (None, 0));
    broker.faults().block("low on memory");
    let publishing = tokio::spawn(async move { producer.ensure_publish("q", &2).await });
    let blocked = until(|| transport.status(), |status| status.blocked().is_some()).await;
    assert_eq!(blocked.blocked(), Some("low on memory"));
    assert!(blocked.is_connected(), "{blocked:?}");
    broker.faults().unblock();
    within(publishing).await.unwrap().unwrap();
    until(|| transport.status(), |status| status.blocked().is_none()).await;
}

#[tokio::test]
async fn a_worker_tells_what_it_handles_and_whether_it_would_handle_more() {
    let broker = Broker::memory();
    let transport = broker.transport().await;
    let gate = Arc::new(Semaphore::new(0));
    let opened = gate.clone();
    let worker = transport.worker(Queue::durable("q")).concurrency(3).start(move |_: Incoming<u32>| {
        let gate = opened.clone();
        async move { gate.acquire().await.map(tokio::sync::SemaphorePermit::forget) }
    });
    let worker = within(worker).await.unwrap();
    let idle = worker.status();
    assert!(idle.is_ready() && idle.last_error.is_none(), "{idle:?}");
    assert_eq!((idle.queue.as_str(), idle.in_flight, idle.held), ("q", 0, 0));
    for number in 0..2 {
        within(transport.producer(Exchange::default()).ensure_publish("q", &number)).await.unwrap();
    }
    let busy = until(|| worker.status(), |status| status.in_flight == 2).await;
    assert_eq!(busy.connection.unacked, 2);
    assert_eq!(transport.status().in_flight(), 2);

    // The queue goes, and the worker declares it anew.
    within(broker.channel().await.delete_queue("q", Default::default())).await.unwrap();
    let ended = until(|| worker.status(), |status| status.last_error.is_some()).await;
    assert!(ended.last_error.unwrap().error.contains("\"q\""));
    until(|| worker.status(), messaging::WorkerStatus::is_ready).await;

    let monitor = worker.monitor();
    let stopping = tokio::spawn(worker.stop());
    let stops = until(|| monitor.status(), |status| !status.is_ready()).await;
    assert_eq!(stops.in_flight, 2);
    gate.add_permits(2);
    within(stopping).await.unwrap();
    assert_eq!(monitor.status().in_flight, 0);
}
