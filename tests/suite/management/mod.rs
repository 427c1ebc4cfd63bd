//! RabbitMQ's management API and metrics, on RabbitMQ and on the broker: what one answers the other
//! answers too.

use std::time::Duration;

use amqp_broker::{Broker, HttpOptions, Listener, RabbitMq};
use amqp_client::{Connection, connect};
use serde_json::{Value as Json, json};
use tests::{HttpPorts, Node};

use self::api::{Answer, Api, segment};

mod api;
mod connections;
mod definitions;
mod exchanges;
mod health;
mod hostile;
mod logins;
mod messages;
mod metrics;
mod page;
mod policies;
mod queues;
mod tools;
mod tracing;
mod users;
mod vhosts;

/// Makes a test of each function for each broker.
macro_rules! on_both {
    ($($name:ident),* $(,)?) => {
        mod embedded {
            $(#[tokio::test]
            async fn $name() {
                super::$name(crate::management::Managed::embedded().await).await;
            })*
        }

        mod rabbitmq {
            $(#[tokio::test]
            async fn $name() {
                let test = concat!(module_path!(), "::", stringify!($name));
                if let Some(broker) = crate::management::Managed::rabbitmq(test).await {
                    super::$name(broker).await;
                }
            })*
        }
    };
}

use on_both;

/// A broker with its API. It has the user guest, an administrator.
struct Managed {
    host: Host,
    api: Api,
    /// The address of `/metrics`.
    metrics: Api,
    /// The version of RabbitMQ that it is or is like.
    is_4: bool,
}

enum Host {
    Embedded { _broker: Broker, amqp: Listener, _http: Listener },
    RabbitMq(&'static Node),
}

impl Managed {
    async fn embedded() -> Self {
        Self::embedded_like(RabbitMq::V3_10).await
    }

    async fn embedded_like(version: RabbitMq) -> Self {
        let broker = Broker::builder().like(version).build();
        let amqp = broker.listen("127.0.0.1:0").await.unwrap();
        let http = broker.listen_http("127.0.0.1:0", HttpOptions::new()).await.unwrap();
        let api = Api::at(http.local_addr().to_string());
        let host = Host::Embedded { _broker: broker, amqp, _http: http };
        Self { host, metrics: api.clone(), api: api.login("guest", "guest"), is_4: false }
    }

    async fn rabbitmq(test: &str) -> Option<Self> {
        let node = Node::require(test)?;
        let Some(HttpPorts { management, metrics }) = node.http() else {
            tests::leave_out(test, "the RabbitMQ has no management (one that tests/run started has)");
            return None;
        };
        let api = Api::at(format!("127.0.0.1:{management}")).login("guest", "guest");
        let version = api.get("/api/overview").await.is(200).json();
        let is_4 = version["rabbitmq_version"].as_str().is_some_and(|version| version.starts_with("4."));
        Some(Self { host: Host::RabbitMq(node), metrics: Api::at(format!("127.0.0.1:{metrics}")), api, is_4 })
    }

    fn is_rabbitmq(&self) -> bool {
        matches!(self.host, Host::RabbitMq(_))
    }

    fn port(&self) -> u16 {
        match &self.host {
            Host::Embedded { amqp, .. } => amqp.local_addr().port(),
            Host::RabbitMq(node) => node.port(),
        }
    }

    /// Makes a virtual host, which guest may do anything in. An earlier run may have left one.
    async fn vhost(&self, name: &str) -> String {
        let path = format!("/api/vhosts/{}", segment(name));
        let before = self.api.delete(&path).await;
        assert!([204, 404].contains(&before.status), "{before}");
        self.api.put(&path, json!({})).await.is(201);
        name.to_owned()
    }

    /// Makes a user, whose password is `secret`; returns the API for it.
    async fn user(&self, name: &str, tags: &str) -> Api {
        let path = format!("/api/users/{name}");
        let made = self.api.put(&path, json!({ "password": "secret", "tags": tags })).await;
        assert!([201, 204].contains(&made.status), "{made}");
        self.api.login(name, "secret")
    }

    async fn permit(&self, user: &str, vhost: &str, [configure, write, read]: [&str; 3]) {
        let path = format!("/api/permissions/{}/{user}", segment(vhost));
        let permissions = json!({ "configure": configure, "write": write, "read": read });
        let answer = self.api.put(&path, permissions).await;
        assert!([201, 204].contains(&answer.status), "{answer}");
    }

    /// Connects over AMQP as guest.
    async fn connect(&self, vhost: &str) -> Connection {
        let uri = format!("amqp://guest:guest@127.0.0.1:{}/{}", self.port(), segment(vhost));
        within(connect(&uri)).await.unwrap()
    }

    /// Asks until the answer is as wanted: RabbitMQ counts and lists some things seconds later.
    async fn eventually(&self, path: &str, is_wanted: impl Fn(&Json) -> bool) -> Answer {
        let asking = async {
            loop {
                let answer = self.api.get(path).await;
                if answer.status == 200 && is_wanted(&answer.json()) {
                    return answer;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        match tokio::time::timeout(Duration::from_secs(60), asking).await {
            Ok(answer) => answer,
            Err(_) => panic!("never as wanted: {}", self.api.get(path).await),
        }
    }
}

/// Waits for `future` with a deadline.
async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future).await.expect("nothing within the deadline")
}
