//! Faults of RPC over oslo.messaging, and the test that guards against each here. Tests that have
//! no other place are in this file.
//!
//! | fault | here | tested by |
//! |---|---|---|
//! | polling adds half a second to every call | a reply wakes its caller | `messaging::rpc::thousands_of_calls_at_once_get_each_its_own_reply` |
//! | a call's timeout begins only when its request is sent, and the wait for an absent broker never ends | one deadline covers connecting, sending and waiting | `messaging::rpc_pains::a_call_ends_at_its_deadline_though_its_broker_is_away_or_mute`, `messaging::rpc_pains::a_call_ends_at_its_deadline_though_its_broker_blocks` |
//! | a timeout of zero breaks the connection | the call ends at once | `messaging::rpc_pains::a_call_without_any_time_ends_and_disturbs_nobody` |
//! | errors come from other libraries, with misleading texts | one typed error keeps its cause | `messaging::rpc_pains::a_call_says_what_is_wrong_with_the_broker`, `messaging::rpc_conflicts::what_exists_otherwise_is_a_conflict_that_says_how` |
//! | a request without a server is dropped silently | it fails at once, or waits for a server if requested | `messaging::rpc::a_call_to_nobody_is_unroutable_at_once`, `messaging::rpc::a_call_can_wait_for_its_server` |
//! | all requests are taken, and acknowledged before they run | no more are taken than run; acknowledging afterwards is an option | `messaging::rpc_server::acknowledged_after_it_ran_a_request_survives_its_server`, `messaging::rpc::a_server_runs_no_more_at_once_than_it_may_and_finishes_what_runs_when_it_stops` |
//! | a server remembers only 16 requests | the number and the time are options | `messaging::rpc_server::how_many_requests_are_remembered_is_the_servers_choice` |
//! | messages that cannot be decoded vanish | they are rejected, so that a policy may dead-letter them, and counted | `messaging::rpc_pains::a_server_counts_what_became_of_its_requests` |
//! | heartbeats to the client of a failed call never end | they end with the method, however it ends | `messaging::rpc_server::a_watched_call_that_fails_at_once_is_told_once_and_no_heartbeats_follow` |
//! | a call monitor of one second breaks calls, and unrequested heartbeats break clients | two seconds at least; a client gets heartbeats only on request, and ignores others | `messaging::rpc_client::a_server_that_tells_it_is_at_work_is_waited_for`, `messaging::rpc_wire::what_a_client_sends_is_what_python_sends` |
//! | there is no reply when a method exits, or its result is not JSON | there is always a reply | `messaging::rpc::what_goes_wrong_in_a_method_reaches_its_caller`, `messaging::rpc_server::a_result_that_the_broker_does_not_take_is_a_failure_to_its_caller`, `messaging::rpc_hooks::types_have_methods_as_closures_are_methods` |
//! | reply queues are never deleted, or their loss goes unnoticed | closing deletes the queue; it is declared again if the broker deletes it | `messaging::rpc_pains::a_reply_queue_goes_with_its_transport`, `messaging::rpc_pains::a_reply_queue_that_is_deleted_in_a_call_is_there_again_for_its_reply` |
//! | a reply to a vanished client occupies a worker for a minute | it waits separately, and delays nobody | `messaging::rpc_server::a_client_that_has_vanished_holds_up_nobody` |
//! | two services with one topic in two exchanges get each other's requests | names may begin with their exchange | `messaging::rpc_topology::scoped_services_of_one_topic_do_not_get_each_others_requests` |
//! | the first fanout after the end of the last server fails | its exchange is declared again | `messaging::rpc_fanout::the_exchange_is_there_again_after_it_went_with_the_last_server` |
//! | queues are silently not durable, or are deleted and declared again and again | a typed conflict; existing entities are used as they are if requested, and never deleted | `messaging::rpc_conflicts::durable_entities_fall_back_to_what_exists`, `interop::oslo::conflicts::both_sides_fall_back_to_what_is_not_durable` |
//! | a compression by its documented name breaks every publish | a type replaces the name; one that is not compiled in is refused when the server starts | `messaging::rpc_hooks::requests_and_replies_are_compressed_where_that_is_wanted`, `interop::oslo::calls::python_reads_what_we_compress` |
//! | a restarted server runs the last fanout of the stream again | it begins with the next one, and continues where it was after a lost connection | `messaging::rpc_fanout::a_server_of_a_stream_begins_with_what_comes_or_with_the_last_as_python_does`, `messaging::rpc_fanout::a_server_whose_connection_was_lost_goes_on_in_the_stream_where_it_was` |
//! | a process has thirty connections, with one publish at a time on each | it has two connections; publishes are confirmed together | `messaging::rpc_pains::thousands_of_calls_wait_on_two_connections` |
//! | a deleted queue costs its server the connection and a second, and requests vanish meanwhile | only its consumer restarts; requests meanwhile are unroutable, or wait | `messaging::rpc_pains::a_server_whose_queue_is_deleted_serves_again` |
//! | remote errors require Python's modules | class, module, message, arguments and traceback are passed on unchanged | `interop::oslo::calls::we_call_a_python_server`, `interop::oslo::calls::python_calls_our_server` |
//! | an access policy denies the ping | if enabled, it is answered under every policy | `messaging::rpc_server::a_ping_is_answered_where_it_is_wanted_under_every_policy` |
//! | two processes share a reply queue, because both count in one file | names are unique ids, or set by the user | `interop::oslo::topology::both_sides_declare_the_same` |
//! | casts to a dead topic run hours later | they may expire | `messaging::rpc_pains::a_cast_that_nobody_takes_in_time_is_dropped` |

use std::time::Duration;

use amqp_broker::{Faults, Listener};
use amqp_client::Queue;
use messaging::{
    Error, Exchange, Outcome, Report, Target, Transport, TransportOptions,
    rpc::{Client, Endpoint, RunningServer, ServerMetrics},
};
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
};

use super::fixture::{Broker, within};

/// An embedded broker with a server, whose method `work` waits until the gate is open.
struct Served {
    broker: amqp_broker::Broker,
    faults: Faults,
    url: String,
    server: RunningServer,
    gate: watch::Sender<bool>,
    starts: mpsc::UnboundedReceiver<()>,
    _listener: Listener,
}

impl Served {
    async fn start() -> Self {
        let broker = amqp_broker::Broker::builder().build();
        let listener = broker.listen("127.0.0.1:0").await.unwrap();
        let url = format!("amqp://guest:guest@{}/", listener.local_addr());
        let (gate, open) = watch::channel(false);
        let (started, starts) = mpsc::unbounded_channel();
        let endpoint = Endpoint::new().method("now", |_, (): ()| async { Ok("now") }).method(
            "work",
            move |_, (): ()| {
                let (mut open, started) = (open.clone(), started.clone());
                async move {
                    started.send(())?;
                    open.wait_for(|open| *open).await?;
                    Ok("done")
                }
            },
        );
        let server = Transport::connect(&url).await.unwrap().rpc_server(Target::topic("t").server("s1"));
        let server = within(server.concurrency(5000).endpoint(endpoint).start()).await.unwrap();
        Served { faults: broker.faults(), broker, url, server, gate, starts, _listener: listener }
    }

    async fn client(&self) -> Client {
        Transport::connect(&self.url).await.unwrap().rpc_client(Target::topic("t"))
    }

    fn reply_queues(&self) -> Vec<String> {
        let queues = self.broker.queues("/").into_iter().map(|queue| queue.name);
        queues.filter(|name| name.starts_with("reply_")).collect()
    }
}

async fn call(client: &Client, method: &str) -> Result<String, Error> {
    within(client.call(method, &()).into_future()).await
}

fn is_out_of_time(error: &Error) -> bool {
    match error {
        Error::Timeout { .. } => true,
        Error::Undelivered(undelivered) => undelivered.source.as_deref().is_none_or(is_out_of_time),
        Error::Connect { .. } | Error::Broker { .. } => true,
        _ => false,
    }
}

#[tokio::test]
async fn a_call_ends_at_its_deadline_though_its_broker_is_away_or_mute() {
    let away = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let mute = TcpListener::bind("127.0.0.1:0").await.unwrap();
    for address in [away, mute.local_addr().unwrap()] {
        let transport = TransportOptions::new().lazy(&format!("amqp://{address}/")).unwrap();
        let client = transport.rpc_client(Target::topic("t")).timeout(Duration::from_millis(200));
        for error in [
            call(&client, "x").await.unwrap_err(),
            within(client.cast("x", &())).await.unwrap_err(),
            within(client.fanout("x", &())).await.unwrap_err(),
        ] {
            assert!(is_out_of_time(&error), "{error}");
        }
        assert_eq!(client.metrics().in_flight, 0);
    }
}

#[tokio::test]
async fn a_call_ends_at_its_deadline_though_its_broker_blocks() {
    let mut served = Served::start().await;
    let client = served.client().await;
    assert_eq!(call(&client, "now").await.unwrap(), "now");
    served.faults.block("low on memory");
    let brief = client.clone().timeout(Duration::from_millis(200));
    // The first may have left before the block; then the server's reply waits.
    for _ in 0..2 {
        let error = call(&brief, "now").await.unwrap_err();
        assert!(is_out_of_time(&error), "{error}");
    }
    served.faults.unblock();
    assert_eq!(call(&client, "now").await.unwrap(), "now");
    served.starts.close();
    within(served.server.stop()).await.unwrap();
}

#[tokio::test]
async fn a_call_without_any_time_ends_and_disturbs_nobody() {
    let served = Served::start().await;
    let client = served.client().await;
    call(&client, "now").await.unwrap();
    let connections = served.broker.connections().len();
    for _ in 0..3 {
        match call(&client.clone().timeout(Duration::ZERO), "now").await {
            // The runtime's clock ticks in milliseconds, which is enough for a broker in the same
            // process.
            Ok(answer) => assert_eq!(answer, "now"),
            Err(error) => assert!(is_out_of_time(&error), "{error}"),
        }
        assert_eq!(call(&client, "now").await.unwrap(), "now");
    }
    assert_eq!(served.broker.connections().len(), connections, "none was lost, none opened");
    within(served.server.stop()).await.unwrap();
}

#[tokio::test]
async fn a_call_says_what_is_wrong_with_the_broker() {
    let served = Served::start().await;
    let wrong = served.url.replace("guest:guest", "guest:wrong");
    let transport = TransportOptions::new().lazy(&wrong).unwrap();
    let client = transport.rpc_client(Target::topic("t")).timeout(Duration::from_secs(1000));
    let Err(error) = call(&client, "now").await else { panic!("let in") };
    assert!(matches!(&error, Error::Connect { .. }), "at once, not at its timeout: {error}");
    let said = Report(&error).to_string();
    assert!(said.contains("ACCESS_REFUSED") && !said.contains("wrong"), "{said}");
    let Err(error) = within(client.cast("now", &())).await else { panic!("let in") };
    assert!(Report(&error).to_string().contains("ACCESS_REFUSED"), "{error:?}");
    within(served.server.stop()).await.unwrap();
}

#[tokio::test]
async fn a_server_counts_what_became_of_its_requests() {
    let broker = Broker::memory();
    let transport = broker.transport().await;
    let endpoint = Endpoint::new().method("echo", |_, args: Value| async move { Ok(args) });
    let server = transport.rpc_server(Target::topic("t").server("s1")).concurrency(1).endpoint(endpoint);
    let server = server.start().await.unwrap();
    assert_eq!(server.metrics(), ServerMetrics::default());
    let raw = transport.producer(Exchange::topic("openstack"));
    for request in [
        json!(["no request"]),
        json!({"method": "echo", "_unique_id": "1"}),
        json!({"method": "echo", "_unique_id": "1"}),
        json!({"method": "nope"}),
        json!({"method": "echo", "_msg_id": "1", "_reply_q": "gone"}),
    ] {
        within(raw.ensure_publish("t", &request)).await.unwrap();
    }
    let client = transport.rpc_client(Target::topic("t"));
    within(client.call::<Value>("echo", &()).into_future()).await.unwrap();
    let metrics = server.metrics();
    assert_eq!((metrics.answered, metrics.failed), (4, 1));
    assert_eq!((metrics.repeated, metrics.unreadable, metrics.vanished), (1, 1, 0));
    within(server.stop()).await.unwrap();
}

#[tokio::test]
async fn a_reply_queue_goes_with_its_transport() {
    let served = Served::start().await;
    let transport = Transport::connect(&served.url).await.unwrap();
    let client = transport.rpc_client(Target::topic("t"));
    assert!(served.reply_queues().is_empty(), "it is there when it is needed");
    call(&client, "now").await.unwrap();
    call(&client.prepare(|target| target.server("s1")), "now").await.unwrap();
    assert_eq!(served.reply_queues().len(), 1);
    within(transport.close()).await.unwrap();
    assert!(served.reply_queues().is_empty());
    within(served.server.stop()).await.unwrap();
}

#[tokio::test]
async fn a_reply_queue_that_is_deleted_in_a_call_is_there_again_for_its_reply() {
    let mut served = Served::start().await;
    let client = served.client().await;
    let (working, queues) = (call(&client, "work"), &served.broker);
    let deleting = async {
        within(served.starts.recv()).await.unwrap();
        let reply_queue = queues.queues("/").into_iter().find(|queue| queue.name.starts_with("reply_"));
        served.faults.delete_queue("/", &reply_queue.unwrap().name).unwrap();
        served.gate.send(true).unwrap();
    };
    let (answer, ()) = tokio::join!(working, deleting);
    assert_eq!(answer.unwrap(), "done");
    assert_eq!(call(&client, "now").await.unwrap(), "now");
    within(served.server.stop()).await.unwrap();
}

#[tokio::test]
async fn a_server_whose_queue_is_deleted_serves_again() {
    let served = Served::start().await;
    let client = served.client().await;
    for queue in ["t", "t.s1"] {
        call(&client, "now").await.unwrap();
        let connections = served.broker.connections().len();
        served.faults.delete_queue("/", queue).unwrap();
        for target in [Target::topic("t"), Target::topic("t").server("s1")] {
            // A missing entity is reported, and nothing is lost silently.
            match call(&client.prepare(|_| target.clone()), "now").await {
                Ok(answer) => assert_eq!(answer, "now"),
                Err(Error::Undelivered(undelivered)) => assert_eq!(undelivered.outcome, Outcome::Unroutable),
                Err(other) => panic!("{other}"),
            }
            let patient = client.prepare(|_| target.clone()).wait_for_server(true);
            assert_eq!(call(&patient, "now").await.unwrap(), "now");
        }
        assert_eq!(served.broker.connections().len(), connections, "on the same connection");
    }
    within(served.server.stop()).await.unwrap();
}

#[tokio::test]
async fn thousands_of_calls_wait_on_two_connections() {
    const CALLS: usize = 4000;
    let mut served = Served::start().await;
    let before = served.broker.connections().len();
    let client = served.client().await;
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..CALLS {
        let client = client.clone();
        calls.spawn(async move { client.call::<String>("work", &()).await });
    }
    for _ in 0..CALLS {
        within(served.starts.recv()).await.unwrap();
    }
    assert_eq!(client.metrics().in_flight, CALLS);
    assert_eq!(served.broker.connections().len(), before + 2);
    served.gate.send(true).unwrap();
    while let Some(answer) = within(calls.join_next()).await {
        assert_eq!(answer.unwrap().unwrap(), "done");
    }
    assert_eq!((client.metrics().in_flight, client.metrics().late_replies), (0, 0));
    within(served.server.stop()).await.unwrap();
}

#[tokio::test]
async fn a_cast_that_nobody_takes_in_time_is_dropped() {
    let broker = Broker::embedded().await;
    let transport = broker.transport().await;
    let server = transport.rpc_server(Target::topic("t").server("s1"));
    within(within(server.start()).await.unwrap().stop()).await.unwrap();
    let client = transport.rpc_client(Target::topic("t"));
    within(client.clone().cast_expiry(Duration::from_millis(1)).cast("dropped", &())).await.unwrap();
    within(client.cast("kept", &())).await.unwrap();
    let channel = broker.channel().await;
    let left = async || channel.declare(Queue::new("t").passive(true)).await.unwrap().messages;
    within(async { while left().await > 1 {} }).await;
    assert_eq!(left().await, 1);
}

#[test]
fn every_test_of_the_table_exists() {
    let found = tests::find_named_tests(include_str!("rpc_pains.rs"));
    assert!(found > 30);
}
