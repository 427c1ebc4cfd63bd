//! kombu's mailboxes: its callers with our nodes and our callers with its nodes, in several
//! versions of kombu.

mod calls;
mod python;

use std::time::Duration;

use amqp_broker::{Broker, Listener};
use tests::{Node, Python, Redis};
use tokio::time::timeout;

const DEADLINE: Duration = Duration::from_secs(60);

async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(DEADLINE, future).await.expect("nothing within the deadline")
}

/// A broker's URL, and what keeps the broker.
struct OnBroker {
    url: String,
    _listener: Option<Listener>,
    _redis: Option<Redis>,
}

impl OnBroker {
    async fn embedded() -> Self {
        let listener = Broker::builder().build().listen("127.0.0.1:0").await.unwrap();
        let url = format!("amqp://guest:guest@{}/", listener.local_addr());
        OnBroker { url, _listener: Some(listener), _redis: None }
    }

    fn rabbitmq(test: &str) -> Option<Self> {
        let url = Node::require(test)?.uri().to_owned();
        Some(OnBroker { url, _listener: None, _redis: None })
    }

    async fn redis(test: &str) -> Option<Self> {
        if !Redis::require(test) {
            return None;
        }
        let redis = Redis::start().await.unwrap();
        Some(OnBroker { url: redis.url(3), _listener: None, _redis: Some(redis) })
    }
}

/// Makes a test of each function for each version of kombu on each broker.
macro_rules! with_every_kombu {
    ($($version:ident: $python:expr => [$($name:ident),* $(,)?]);* $(;)?) => {
        $(mod $version {
            $(mod $name {
                use super::super::super::{OnBroker, Python};

                fn python(test: &str) -> Option<Python> {
                    let python: fn(&str) -> Option<Python> = $python;
                    python(test)
                }

                #[tokio::test(flavor = "multi_thread")]
                async fn on_our_broker() {
                    let test = concat!(module_path!(), "::on_our_broker");
                    if let Some(python) = python(test) {
                        super::super::$name(&OnBroker::embedded().await.url, &python).await;
                    }
                }

                #[tokio::test(flavor = "multi_thread")]
                async fn on_rabbitmq() {
                    let test = concat!(module_path!(), "::on_rabbitmq");
                    if let Some((python, broker)) = python(test).zip(OnBroker::rabbitmq(test)) {
                        super::super::$name(&broker.url, &python).await;
                    }
                }
            })*
        })*
    };
}

/// Makes a test of each function with kombu on a Redis.
macro_rules! on_redis {
    ($($name:ident),* $(,)?) => {
        mod redis {
            use super::super::{OnBroker, Python};

            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                let test = concat!(module_path!(), "::", stringify!($name));
                let Some(python) = Python::require(test) else { return };
                if let Some(redis) = OnBroker::redis(test).await {
                    super::$name(&redis.url, &python).await;
                }
            })*
        }
    };
}

use {on_redis, with_every_kombu};
