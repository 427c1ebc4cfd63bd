//! oslo.messaging, the Python library: its clients with our servers and the reverse, on RabbitMQ
//! and on the embedded broker.

mod agent;
mod calls;
mod conflicts;
mod crashes;
mod duplicates;
mod frames;
mod killed;
mod notifications;
mod notify_restarts;
mod notify_rules;
mod restarts;
mod tap;
mod topology;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use amqp_broker::Listener;
use messaging::{
    Target, Transport, TransportOptions,
    rpc::{Endpoint, Failure, RunningServer, Server},
};
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};
use tests::Node;

use agent::Agent;

/// A broker for both sides, and names for one test.
struct Meeting {
    python: &'static Agent,
    /// `host:port`
    authority: String,
    prefix: String,
    _listener: Option<Listener>,
}

impl Meeting {
    async fn embedded(test: &str) -> Option<Self> {
        let python = Agent::shared(test)?;
        let listener = amqp_broker::Broker::builder().build().listen("127.0.0.1:0").await.unwrap();
        let authority = listener.local_addr().to_string();
        Some(Meeting { python, authority, prefix: prefix(), _listener: Some(listener) })
    }

    fn rabbitmq(test: &str) -> Option<Self> {
        let python = Agent::shared(test)?;
        let authority = format!("127.0.0.1:{}", Node::require(test)?.port());
        Some(Meeting { python, authority, prefix: prefix(), _listener: None })
    }

    /// The URL with oslo.messaging's options, `amqp_durable_queues=true&…`.
    fn python_url(&self, options: &str) -> String {
        format!("rabbit://guest:guest@{}/?{options}", self.authority)
    }

    async fn transport(&self, options: TransportOptions) -> Transport {
        options.connect(&format!("rabbit://guest:guest@{}/", self.authority)).await.unwrap()
    }

    fn name(&self, name: &str) -> String {
        format!("{}-{name}", self.prefix)
    }
}

fn prefix() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("oslo-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

#[derive(Deserialize)]
struct Echo {
    value: Box<RawValue>,
}

/// Starts a server of ours with the methods of the Python one.
async fn serve(transport: &Transport, target: Target, name: &'static str) -> RunningServer {
    server(transport, target, name).start().await.unwrap()
}

/// The same server, not started.
fn server(transport: &Transport, target: Target, name: &'static str) -> Server {
    let bumps = Arc::new(AtomicU32::new(0));
    let counted = bumps.clone();
    let plain = Endpoint::new()
        .version(1, 5)
        .method("echo", |_, args: Echo| async move { Ok(args.value) })
        .method("fail", |_, args: Value| async move {
            Err::<(), _>(Failure::new("ValueError", args["message"].as_str().unwrap_or_default()))
        })
        .method("fail_app", |_, _: Value| async move { Ok("x".parse::<u8>()?) })
        .method("sleep", |_, args: Value| async move {
            tokio::time::sleep(Duration::from_secs_f64(args["seconds"].as_f64().unwrap())).await;
            Ok(())
        })
        .method("whoami", move |_, (): ()| async move { Ok(name) })
        .method("bump", move |_, (): ()| {
            bumps.fetch_add(1, Ordering::SeqCst);
            async { Ok(()) }
        })
        .method("counted", move |_, (): ()| {
            let count = counted.load(Ordering::SeqCst);
            async move { Ok(count) }
        })
        .method(
            "user",
            |context: messaging::Context, (): ()| async move { Ok(context.get("user").cloned()) },
        );
    let namespaced = Endpoint::new()
        .namespace("ns")
        .version(2, 3)
        .method("echo", |_, args: Echo| async move { Ok(json!({"ns": args.value})) });
    transport.rpc_server(target.server(name)).ping(true).endpoint(plain).endpoint(namespaced)
}

/// How often a server was bumped.
async fn counted(client: &messaging::rpc::Client) -> u32 {
    within(client.call("counted", &()).into_future()).await.unwrap()
}

/// Waits for `future` with a deadline.
async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future).await.expect("nothing within the deadline")
}

/// Makes a test of each function on both brokers.
macro_rules! on_both_brokers {
    ($($name:ident),* $(,)?) => {
        mod embedded {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                let test = concat!(module_path!(), "::", stringify!($name));
                if let Some(meeting) = super::Meeting::embedded(test).await {
                    super::$name(meeting).await;
                }
            })*
        }

        mod rabbitmq {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                let test = concat!(module_path!(), "::", stringify!($name));
                if let Some(meeting) = super::Meeting::rabbitmq(test) {
                    super::$name(meeting).await;
                }
            })*
        }
    };
}
use on_both_brokers;
