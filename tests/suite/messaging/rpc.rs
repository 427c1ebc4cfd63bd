//! Calls between our client and our server.

use amqp_client::DeleteOptions;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::{StreamExt as _, future::join_all, stream};
use messaging::{
    Context, Error, OsloError, Outcome, Queue, Target, Transport,
    rpc::{Client, Endpoint, Failure, RunningServer},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tests::Proxy;
use tokio::sync::{mpsc, watch};

use super::{
    fixture::{Broker, within},
    on_every_broker_and_redis,
};

#[derive(Serialize, Deserialize)]
struct Add {
    a: i64,
    b: i64,
}

fn math() -> Endpoint {
    Endpoint::new()
        .version(1, 5)
        .method("add", |_, args: Add| async move { Ok(args.a + args.b) })
        .method("divide", |_, args: Add| async move {
            args.a.checked_div(args.b).ok_or_else(|| Failure::new("ZeroDivisionError", "division by zero"))
        })
        .method("panic", |_, args: Add| async move { Ok(args.a / args.b) })
        .method("never", |_, (): ()| std::future::pending::<Result<(), Failure>>())
        .method("user", |context: Context, (): ()| async move { Ok(context.get("user").cloned()) })
        .method("echo", |_, args: Value| async move { Ok(args) })
}

async fn serve(transport: &Transport, topic: &str, endpoint: Endpoint) -> RunningServer {
    let server = transport.rpc_server(Target::topic(topic).server("s1")).endpoint(endpoint);
    within(server.start()).await.unwrap()
}

/// A client and a server, each on its own transport.
async fn math_service(broker: &Broker) -> (Client, RunningServer) {
    let topic = broker.name("math");
    let server = serve(&broker.transport().await, &topic, math()).await;
    let client = broker.transport().await.rpc_client(Target::topic(&topic).version(1, 3));
    (client.timeout(super::fixture::DEADLINE), server)
}

async fn a_call_returns_what_the_method_returns(broker: Broker) {
    let (client, server) = math_service(&broker).await;
    let sum: i64 = within(client.call("add", &Add { a: 1, b: 2 }).into_future()).await.unwrap();
    assert_eq!(sum, 3);
    let odd = json!({"text": "é😀\"\\\n\u{1}", "list": [1.5, null, true], "big": u64::MAX, "map": {"": {}}});
    let echoed: Value = within(client.call("echo", &odd).into_future()).await.unwrap();
    assert_eq!(echoed, odd);
    let context = Context::new().with("user", "alice");
    let user: String = within(client.call("user", &()).context(context).into_future()).await.unwrap();
    assert_eq!(user, "alice");
    within(server.stop()).await.unwrap();
}

async fn what_goes_wrong_in_a_method_reaches_its_caller(broker: Broker) {
    let (client, server) = math_service(&broker).await;
    let call = |method: &'static str| client.call::<Value>(method, &Add { a: 1, b: 0 }).into_future();
    let Err(Error::Oslo(OsloError::Remote(remote))) = within(call("divide")).await else { panic!("divided") };
    assert_eq!((remote.class.as_str(), remote.module.as_str()), ("ZeroDivisionError", "builtins"));
    assert_eq!((remote.message.as_str(), remote.args), ("division by zero", vec![json!("division by zero")]));
    let Err(Error::Oslo(OsloError::Remote(remote))) = within(call("panic")).await else { panic!("no panic") };
    assert!(remote.message.contains("divide by zero"), "{remote}");
    let Err(Error::Oslo(OsloError::NoSuchMethod { method })) = within(call("multiply")).await else {
        panic!("multiplied")
    };
    assert_eq!(method, "multiply");
    let wrong = within(client.call::<i64>("add", &json!({"a": "1"})).into_future()).await;
    assert!(matches!(wrong, Err(Error::Oslo(OsloError::Remote(remote))) if remote.class == "TypeError"));
    let later = broker.transport().await.rpc_client(Target::topic(broker.name("math")).version(1, 6));
    let unsupported = within(later.call::<i64>("add", &Add { a: 1, b: 2 }).into_future()).await;
    assert!(
        matches!(unsupported, Err(Error::Oslo(OsloError::UnsupportedVersion { version, .. })) if version == "1.6")
    );
    let decoded = within(client.call::<String>("add", &Add { a: 1, b: 2 }).into_future()).await;
    assert!(matches!(decoded, Err(Error::Decode { .. })));
    within(server.stop()).await.unwrap();
}

async fn a_call_to_nobody_is_unroutable_at_once(broker: Broker) {
    let client = broker.transport().await.rpc_client(Target::topic(broker.name("nobody")));
    let begun = Instant::now();
    let Err(Error::Undelivered(failure)) = within(client.call::<()>("x", &()).into_future()).await else {
        panic!("routed")
    };
    assert_eq!((failure.outcome, failure.attempts), (Outcome::Unroutable, 1));
    assert!(begun.elapsed() < Duration::from_secs(10), "the client's own timeout is 60 s");
    assert!(within(client.cast("x", &())).await.is_err());
    within(client.fanout("x", &())).await.unwrap();
}

async fn a_call_can_wait_for_its_server(broker: Broker) {
    let topic = broker.name("math");
    let client = broker.transport().await.rpc_client(Target::topic(&topic)).wait_for_server(true);
    let calling = tokio::spawn(async move { client.call::<i64>("add", &Add { a: 1, b: 2 }).await });
    let server = serve(&broker.transport().await, &topic, math()).await;
    assert_eq!(within(calling).await.unwrap().unwrap(), 3);
    within(server.stop()).await.unwrap();
}

async fn a_call_that_is_not_answered_ends_at_its_deadline(broker: Broker) {
    let (client, server) = math_service(&broker).await;
    let timeout = Duration::from_millis(200);
    let result = within(client.call::<()>("never", &()).timeout(timeout).into_future()).await;
    let Err(Error::Timeout { after, during }) = result else { panic!("{result:?}") };
    assert!(after >= timeout && during == "waiting for the reply");
    // The next call is not affected.
    assert_eq!(within(client.call::<i64>("add", &Add { a: 1, b: 2 }).into_future()).await.unwrap(), 3);
    drop(server);
}

async fn thousands_of_calls_at_once_get_each_its_own_reply(broker: Broker) {
    let (client, server) = math_service(&broker).await;
    let client = &client;
    let calls = stream::iter(0..2000i64).map(|n| async move {
        let sum: i64 = client.call("add", &Add { a: n, b: n }).await.unwrap();
        assert_eq!(sum, 2 * n);
    });
    within(calls.buffer_unordered(1000).collect::<Vec<()>>()).await;
    within(server.stop()).await.unwrap();
}

async fn a_cast_runs_on_one_server_and_a_fanout_on_all(broker: Broker) {
    let topic = broker.name("workers");
    let (ran, mut runs) = mpsc::unbounded_channel();
    let mut servers = Vec::new();
    for name in ["s1", "s2"] {
        let ran = ran.clone();
        let endpoint = Endpoint::new().method("run", move |_, id: Value| {
            let sent = ran.send((name, id));
            async move { sent.map_err(Failure::from) }
        });
        let target = Target::topic(&topic).server(name);
        let server = broker.transport().await.rpc_server(target).endpoint(endpoint);
        servers.push(within(server.start()).await.unwrap());
    }
    let transport = broker.transport().await;
    let client = transport.rpc_client(Target::topic(&topic));
    within(client.cast("run", &json!({"id": 1}))).await.unwrap();
    assert_eq!(within(runs.recv()).await.unwrap().1, json!({"id": 1}));

    let second = transport.rpc_client(Target::topic(&topic).server("s2"));
    within(second.cast("run", &json!({"id": 2}))).await.unwrap();
    assert_eq!(within(runs.recv()).await.unwrap(), ("s2", json!({"id": 2})));

    within(client.fanout("run", &json!({"id": 3}))).await.unwrap();
    let mut names = [within(runs.recv()).await.unwrap().0, within(runs.recv()).await.unwrap().0];
    names.sort_unstable();
    assert_eq!(names, ["s1", "s2"]);
    within(join_all(servers.into_iter().map(RunningServer::stop))).await.into_iter().for_each(Result::unwrap);
    assert!(runs.try_recv().is_err(), "none ran twice");
}

async fn a_server_runs_no_more_at_once_than_it_may_and_finishes_what_runs_when_it_stops(broker: Broker) {
    let topic = broker.name("slow");
    let (open, gate) = watch::channel(false);
    let (running, most) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let (started, mut starts) = mpsc::unbounded_channel();
    let most_seen = most.clone();
    let endpoint = Endpoint::new().method("work", move |_, (): ()| {
        let (mut gate, running, most, started) =
            (gate.clone(), running.clone(), most.clone(), started.clone());
        async move {
            most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            started.send(())?;
            gate.wait_for(|open| *open).await?;
            running.fetch_sub(1, Ordering::SeqCst);
            Ok("done")
        }
    });
    let target = Target::topic(&topic).server("s1");
    let server = broker.transport().await.rpc_server(target).endpoint(endpoint).concurrency(2);
    let server = within(server.start()).await.unwrap();
    let client = broker.transport().await.rpc_client(Target::topic(&topic));
    let calls: Vec<_> = (0..5)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(
                async move { client.call::<String>("work", &()).timeout(Duration::from_secs(5)).await },
            )
        })
        .collect();
    for _ in 0..2 {
        within(starts.recv()).await.unwrap();
    }
    let stopping = tokio::spawn(server.stop());
    open.send(true).unwrap();
    within(stopping).await.unwrap().unwrap();
    assert_eq!(most_seen.load(Ordering::SeqCst), 2);

    // A request that has not run is still there for the next server.
    let next = Endpoint::new().method("work", |_, (): ()| async { Ok("by another") });
    let next = serve(&broker.transport().await, &topic, next).await;
    let mut answers = Vec::new();
    for call in calls {
        answers.push(within(call).await.unwrap().unwrap());
    }
    answers.sort_unstable();
    assert!(answers.iter().filter(|answer| *answer == "done").count() >= 2, "{answers:?}");
    within(next.stop()).await.unwrap();
}

async fn stopping_and_closing_leaves_the_shared_queues_only(broker: Broker) {
    let topic = broker.name("math");
    let server_transport = broker.transport().await;
    let server = serve(&server_transport, &topic, math()).await;
    let transport = broker.transport().await;
    let client = transport.rpc_client(Target::topic(&topic));
    let _: i64 = within(client.call("add", &Add { a: 1, b: 2 }).into_future()).await.unwrap();
    within(server.stop()).await.unwrap();
    within(transport.close()).await.unwrap();
    within(server_transport.close()).await.unwrap();
    let channel = broker.channel().await;
    for queue in [topic.clone(), format!("{topic}.s1")] {
        assert_eq!(channel.declare(Queue::new(&queue).passive(true)).await.unwrap().consumers, 0, "{queue}");
        channel.delete_queue(&queue, DeleteOptions::new()).await.unwrap();
    }
    // The fanout exchange was deleted with the server's queue.
    assert!(
        channel
            .declare(amqp_client::Exchange::fanout(format!("{topic}_fanout")).passive(true))
            .await
            .is_err()
    );
}

on_every_broker_and_redis! {
    a_call_returns_what_the_method_returns,
    what_goes_wrong_in_a_method_reaches_its_caller,
    a_call_to_nobody_is_unroutable_at_once,
    a_call_can_wait_for_its_server,
    a_call_that_is_not_answered_ends_at_its_deadline,
    thousands_of_calls_at_once_get_each_its_own_reply,
    a_cast_runs_on_one_server_and_a_fanout_on_all,
    a_server_runs_no_more_at_once_than_it_may_and_finishes_what_runs_when_it_stops,
    stopping_and_closing_leaves_the_shared_queues_only,
}

#[tokio::test]
async fn calls_go_on_after_the_connections_of_client_and_server_are_cut() {
    let broker = Broker::embedded().await;
    let address = broker.url.trim_start_matches("amqp://guest:guest@").trim_end_matches('/');
    let proxy = Proxy::start(address).await.unwrap();
    let url = format!("amqp://guest:guest@{}/", proxy.addr());
    let server = serve(&Transport::connect(&url).await.unwrap(), "math", math()).await;
    let client = Transport::connect(&url).await.unwrap().rpc_client(Target::topic("math"));
    for n in 0..20 {
        let sum = within(client.call::<i64>("add", &Add { a: n, b: 1 }).into_future()).await;
        assert_eq!(sum.unwrap(), n + 1);
        if n % 5 == 0 {
            proxy.cut();
        }
    }
    within(server.stop()).await.unwrap();
}

#[tokio::test]
async fn a_reply_that_comes_while_the_client_is_cut_off_reaches_it_later() {
    let broker = Broker::embedded().await;
    let address = broker.url.trim_start_matches("amqp://guest:guest@").trim_end_matches('/');
    let proxy = Proxy::start(address).await.unwrap();
    let (open, gate) = watch::channel(false);
    let (started, mut starts) = mpsc::unbounded_channel();
    let endpoint = Endpoint::new().method("work", move |_, (): ()| {
        let (mut gate, started) = (gate.clone(), started.clone());
        async move {
            started.send(())?;
            gate.wait_for(|open| *open).await?;
            Ok(5)
        }
    });
    let server = serve(&broker.transport().await, "slow", endpoint).await;
    let transport = Transport::connect(&format!("amqp://guest:guest@{}/", proxy.addr())).await.unwrap();
    let client = transport.rpc_client(Target::topic("slow"));
    let call = tokio::spawn(async move { client.call::<i32>("work", &()).await });
    within(starts.recv()).await.unwrap();
    proxy.cut();
    open.send(true).unwrap();
    assert_eq!(within(call).await.unwrap().unwrap(), 5);
    within(server.stop()).await.unwrap();
}

#[tokio::test]
async fn arguments_that_are_no_object_are_refused_before_anything_is_sent() {
    let client = Broker::memory().transport().await.rpc_client(Target::topic("math"));
    for arguments in [json!([1, 2]), json!(5), json!("x")] {
        let refused = client.call::<i64>("add", &arguments).await;
        assert!(
            matches!(refused, Err(Error::Oslo(OsloError::Arguments { method })) if method == "add"),
            "{arguments}"
        );
    }
}

#[tokio::test]
async fn a_server_serves_again_after_a_restart_of_the_broker() {
    let broker = amqp_broker::Broker::builder().build();
    let listener = broker.listen("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr();
    let url = format!("amqp://guest:guest@{address}/");
    let server = serve(&Transport::connect(&url).await.unwrap(), "math", math()).await;
    let client =
        Transport::connect(&url).await.unwrap().rpc_client(Target::topic("math")).wait_for_server(true);
    assert_eq!(within(client.call::<i64>("add", &Add { a: 1, b: 2 }).into_future()).await.unwrap(), 3);

    broker.shutdown().await;
    drop(listener);
    let _listener = amqp_broker::Broker::builder().build().listen(address).await.unwrap();
    assert_eq!(within(client.call::<i64>("add", &Add { a: 3, b: 4 }).into_future()).await.unwrap(), 7);
    within(server.stop()).await.unwrap();
}

#[tokio::test]
async fn a_server_whose_broker_is_gone_stops_at_once() {
    let broker = amqp_broker::Broker::builder().build();
    let listener = broker.listen("127.0.0.1:0").await.unwrap();
    let url = format!("amqp://guest:guest@{}/", listener.local_addr());
    let transport = Transport::connect(&url).await.unwrap();
    let server = serve(&transport, "math", math()).await;
    broker.shutdown().await;
    drop(listener);
    within(server.stop()).await.unwrap();
    within(transport.close()).await.unwrap();
}
