//! A client's other functions: versions that it may call, servers that it monitors, calls that it
//! gives up.

use std::time::Duration;

use messaging::{
    Error, OsloError, Queue, Target, Transport, TransportOptions, Version,
    rpc::{Client, Endpoint, Failure, RunningServer},
};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};

use super::{
    fixture::{Broker, within},
    on_every_broker_and_redis,
};
use crate::log::Log;

#[derive(Serialize, Deserialize)]
struct Times {
    n: usize,
}

async fn serve(transport: &Transport, topic: &str, name: &'static str) -> RunningServer {
    let whoami = move |_, (): ()| async move { Ok(name) };
    let nap = |_, seconds: std::collections::BTreeMap<String, u64>| async move {
        tokio::time::sleep(Duration::from_secs(seconds.into_values().sum())).await;
        Ok("slept")
    };
    let server = transport
        .rpc_server(Target::topic(topic).server(name))
        .endpoint(Endpoint::new().version(1, 3).method("whoami", whoami).method("nap", nap))
        .endpoint(
            Endpoint::new()
                .namespace("ns")
                .version(2, 0)
                .method("whoami", move |_, (): ()| async move { Ok(format!("{name} of ns")) }),
        );
    within(server.start()).await.unwrap()
}

async fn whoami(client: &Client) -> Result<String, Error> {
    within(client.call("whoami", &()).into_future()).await
}

async fn a_prepared_client_calls_its_own_target(broker: Broker) {
    let topic = broker.name("who");
    let transport = broker.transport().await;
    let first = serve(&transport, &topic, "s1").await;
    let second = serve(&transport, &topic, "s2").await;
    let client = transport.rpc_client(Target::topic(&topic).version(1, 0));
    for server in ["s1", "s2"] {
        assert_eq!(whoami(&client.prepare(|target| target.server(server))).await.unwrap(), server);
    }
    let namespaced = client.prepare(|target| target.namespace("ns").version(2, 0).server("s1"));
    assert_eq!(whoami(&namespaced).await.unwrap(), "s1 of ns");
    let refused = whoami(&client.prepare(|target| target.version(1, 4))).await;
    assert!(
        matches!(refused, Err(Error::Oslo(OsloError::UnsupportedVersion { version, .. })) if version == "1.4")
    );
    assert!(whoami(&client).await.is_ok(), "the client itself is as it was");
    within(first.stop()).await.unwrap();
    within(second.stop()).await.unwrap();
}

async fn a_call_that_is_dropped_is_forgotten_and_its_reply_counted(broker: Broker) {
    let topic = broker.name("slow");
    let (open, gate) = watch::channel(false);
    let (started, mut starts) = mpsc::unbounded_channel();
    let endpoint = Endpoint::new().method("work", move |_, (): ()| {
        let (mut gate, started) = (gate.clone(), started.clone());
        async move {
            started.send(())?;
            gate.wait_for(|open| *open).await?;
            Ok::<_, Failure>(())
        }
    });
    let target = Target::topic(&topic).server("s1");
    let server = broker.transport().await.rpc_server(target).endpoint(endpoint);
    let server = within(server.start()).await.unwrap();
    let client = broker.transport().await.rpc_client(Target::topic(&topic));
    {
        let mut call = client.call::<()>("work", &()).into_future();
        tokio::select! {
            _ = &mut call => panic!("answered"),
            started = within(starts.recv()) => started.unwrap(),
        }
        assert_eq!(client.metrics().in_flight, 1);
    }
    assert_eq!((client.metrics().in_flight, client.metrics().late_replies), (0, 0));
    open.send(true).unwrap();
    within(server.stop()).await.unwrap();
    // The reply has been sent by now; the broker decides when it arrives.
    within(async {
        while client.metrics().late_replies == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(client.metrics().late_replies, 1);
}

/// It names its call only in its body, so the call ends at its deadline.
async fn a_reply_over_the_limit_is_rejected_and_the_next_one_read(broker: Broker) {
    let topic = broker.name("echo");
    let (started, mut starts) = mpsc::unbounded_channel();
    let endpoint = Endpoint::new().method("repeat", move |_, times: Times| {
        started.send(()).unwrap();
        async move { Ok("x".repeat(times.n)) }
    });
    let server = broker.transport().await.rpc_server(Target::topic(&topic)).endpoint(endpoint);
    let server = within(server.concurrency(1).start()).await.unwrap();
    let (log, _guard) = Log::listen();
    let options = TransportOptions::new().max_message_size(10_000);
    let client = within(options.connect(&broker.url)).await.unwrap().rpc_client(Target::topic(&topic));
    let (large, small) = (Times { n: 100_000 }, Times { n: 3 });
    let mut first = client.call::<String>("repeat", &large).into_future();
    tokio::select! {
        _ = &mut first => panic!("answered"),
        started = within(starts.recv()) => started.unwrap(),
    }
    // The replies come in the order of the methods. One that came again would do so meanwhile.
    for _ in 0..3 {
        assert_eq!(within(client.call::<String>("repeat", &small).into_future()).await.unwrap(), "xxx");
    }
    assert_eq!(client.metrics().in_flight, 1, "the first call waits");
    drop(first);
    let lines = log.lines("a reply cannot be decoded; it is rejected, and its call ends at its deadline");
    let [line] = &lines[..] else { panic!("{lines:?}") };
    assert!(line.contains("queue=\"reply_") && line.contains("the body of 100"), "{line}");
    within(server.stop()).await.unwrap();
}

on_every_broker_and_redis! {
    a_prepared_client_calls_its_own_target,
    a_call_that_is_dropped_is_forgotten_and_its_reply_counted,
    a_reply_over_the_limit_is_rejected_and_the_next_one_read,
}

#[tokio::test]
async fn a_version_over_the_cap_is_not_sent() {
    let transport = Broker::memory().transport().await;
    let server = serve(&transport, "who", "s1").await;
    let client = transport.rpc_client(Target::topic("who").version(1, 2)).version_cap(Version::new(1, 2));
    for (version, can) in [((1, 0), true), ((1, 2), true), ((1, 3), false), ((2, 0), false)] {
        assert_eq!(client.can_send_version(Version::new(version.0, version.1)), can, "{version:?}");
    }
    assert_eq!(whoami(&client).await.unwrap(), "s1");
    let later = client.prepare(|target| target.version(1, 3));
    let text = whoami(&later).await.unwrap_err().to_string();
    assert_eq!(text, "the client's version cap 1.2 does not cover version 1.3");
    assert!(matches!(later.cast("whoami", &()).await, Err(Error::Oslo(OsloError::VersionCap { .. }))));
    assert!(matches!(later.fanout("whoami", &()).await, Err(Error::Oslo(OsloError::VersionCap { .. }))));
    let none = transport.rpc_client(Target::topic("who")).version_cap(Version::new(1, 2));
    assert!(matches!(whoami(&none).await, Err(Error::Oslo(OsloError::VersionCap { version: None, .. }))));
    within(server.stop()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_server_that_tells_it_is_at_work_is_waited_for() {
    let transport = Broker::memory().transport().await;
    let server = serve(&transport, "nap", "s1").await;
    let client = transport
        .rpc_client(Target::topic("nap"))
        .timeout(Duration::from_secs(1000))
        .monitor(Duration::from_millis(1));
    let seconds = std::collections::BTreeMap::from([("seconds", 100)]);
    // This is twenty times as long as a silent server is waited for. `within` is not used, because
    // its time is virtual too.
    let slept: String = client.call("nap", &seconds).await.unwrap();
    assert_eq!(slept, "slept");
    server.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_server_that_tells_nothing_is_given_up_before_the_timeout() {
    let broker = Broker::memory();
    let transport = broker.transport().await;
    // The queue takes requests, but has no server.
    let queue = transport.consumer(Queue::new("gone")).bind(&messaging::Exchange::topic("openstack"), "gone");
    drop(queue.start::<()>().await.unwrap());
    let client = transport.rpc_client(Target::topic("gone")).timeout(Duration::from_secs(1000));
    let call = client.call::<()>("x", &()).monitor(Duration::from_secs(4)).into_future();
    let Err(Error::Timeout { after, during }) = call.await else { panic!("answered") };
    assert!(after >= Duration::from_secs(4) && after < Duration::from_secs(1000), "{after:?}");
    assert!(during.contains("heartbeat"), "{during}");
    assert_eq!(client.metrics().in_flight, 0);
    // The timeout still applies.
    for patience in [Duration::from_secs(4), Duration::MAX] {
        let call = client.call::<()>("x", &()).monitor(patience).timeout(Duration::from_secs(1));
        let Err(Error::Timeout { during, .. }) = call.await else { panic!("answered") };
        assert_eq!(during, "waiting for the reply");
    }
}
