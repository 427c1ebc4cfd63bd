//! The figures of a broker at a moment, as its management API tells them.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};

use crate::{
    api_error::ApiError,
    management::{endpoint::Endpoint, http::Api},
};

/// The figures of a broker, or of one of its virtual hosts.
#[derive(Debug, Default)]
pub(super) struct Figures {
    pub(super) overview: Overview,
    pub(super) queues: Vec<QueueFigures>,
    pub(super) connections: Vec<ConnectionFigures>,
}

/// The sums. Rates are messages a second.
#[derive(Debug, Default, Serialize)]
pub(super) struct Overview {
    pub(super) broker: String,
    pub(super) cluster: String,
    /// The virtual host of these figures; all of them without one.
    pub(super) vhost: Option<String>,
    pub(super) publish_rate: f64,
    pub(super) deliver_rate: f64,
    pub(super) ack_rate: f64,
    pub(super) ready: u64,
    pub(super) unacked: u64,
    pub(super) connections: u64,
    pub(super) channels: u64,
    pub(super) consumers: u64,
    /// The memory of all nodes in bytes, if the user may see it.
    pub(super) memory: Option<u64>,
}

/// The figures of a queue. Rates are messages a second.
#[derive(Debug, Default, Serialize)]
pub(super) struct QueueFigures {
    pub(super) queue: String,
    pub(super) vhost: String,
    pub(super) ready: u64,
    pub(super) unacked: u64,
    pub(super) in_rate: f64,
    pub(super) out_rate: f64,
    pub(super) consumers: u64,
}

/// The figures of a connection. Rates are bytes a second, as the broker sees them.
#[derive(Debug, Default, Serialize)]
pub(super) struct ConnectionFigures {
    /// The name that the client gave, or addresses and ports.
    pub(super) connection: String,
    pub(super) vhost: String,
    pub(super) user: String,
    pub(super) state: String,
    pub(super) channels: u64,
    pub(super) received_rate: f64,
    pub(super) sent_rate: f64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Rate {
    rate: f64,
}

/// Events that have never happened are missing.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct MessageStats {
    publish_details: Rate,
    deliver_get_details: Rate,
    ack_details: Rate,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ObjectTotals {
    connections: u64,
    channels: u64,
    consumers: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Depth {
    messages_ready: u64,
    messages_unacknowledged: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct OverviewAnswer {
    product_name: Option<String>,
    product_version: Option<String>,
    rabbitmq_version: String,
    cluster_name: String,
    message_stats: MessageStats,
    queue_totals: Depth,
    object_totals: ObjectTotals,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct VhostAnswer {
    name: String,
    message_stats: MessageStats,
    #[serde(flatten)]
    depth: Depth,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct NodeAnswer {
    mem_used: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct QueueAnswer {
    name: String,
    vhost: String,
    messages_ready: u64,
    messages_unacknowledged: u64,
    consumers: u64,
    message_stats: MessageStats,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ConnectionAnswer {
    name: String,
    user_provided_name: Option<String>,
    vhost: String,
    user: String,
    state: Option<String>,
    channels: u64,
    recv_oct_details: Rate,
    send_oct_details: Rate,
}

/// The columns that are asked for, so that a broker with many queues answers quickly.
const OVERVIEW: &str =
    "product_name,product_version,rabbitmq_version,cluster_name,message_stats,queue_totals,object_totals";
const VHOSTS: &str = "name,message_stats,messages_ready,messages_unacknowledged";
const QUEUES: &str = "name,vhost,messages_ready,messages_unacknowledged,consumers,\
     message_stats.publish_details.rate,message_stats.deliver_get_details.rate";
const CONNECTIONS: &str = "name,user_provided_name,vhost,user,state,channels,\
     recv_oct_details.rate,send_oct_details.rate";

impl Figures {
    /// Asks for the figures of a virtual host, or of all.
    ///
    /// # Errors
    /// When there is no answer, or another than was asked for.
    pub(super) async fn ask(endpoint: &Endpoint, vhost: Option<&str>) -> Result<Self, ApiError> {
        let mut api = endpoint.open().await?;
        let answer: OverviewAnswer = api.get(&format!("/api/overview?columns={OVERVIEW}")).await?;
        let mut overview = Overview::of(answer);
        overview.memory = memory(&mut api).await?;
        let (queues, connections) = match vhost {
            None => ("/api/queues".to_owned(), "/api/connections".to_owned()),
            Some(vhost) => {
                overview.narrow(vhost, api.get(&format!("/api/vhosts?columns={VHOSTS}")).await?)?;
                let name = utf8_percent_encode(vhost, NON_ALPHANUMERIC);
                (format!("/api/queues/{name}"), format!("/api/vhosts/{name}/connections"))
            }
        };
        let queues: Vec<QueueAnswer> = api.get(&format!("{queues}?columns={QUEUES}")).await?;
        let connections: Vec<ConnectionAnswer> =
            api.get(&format!("{connections}?columns={CONNECTIONS}")).await?;
        let mut figures = Figures {
            overview,
            queues: queues.into_iter().map(QueueFigures::of).collect(),
            connections: connections.into_iter().map(ConnectionFigures::of).collect(),
        };
        if vhost.is_some() {
            figures.count();
        }
        Ok(figures)
    }

    /// Counts what the API counts for all virtual hosts together.
    fn count(&mut self) {
        self.overview.connections = self.connections.len() as u64;
        self.overview.channels = self.connections.iter().map(|connection| connection.channels).sum();
        self.overview.consumers = self.queues.iter().map(|queue| queue.consumers).sum();
    }
}

/// The memory of all nodes. Users without the tag monitoring may not see it.
async fn memory(api: &mut Api) -> Result<Option<u64>, ApiError> {
    match api.get::<Vec<NodeAnswer>>("/api/nodes?columns=mem_used").await {
        Ok(nodes) => Ok(Some(nodes.iter().map(|node| node.mem_used).sum())),
        Err(ApiError::Refused { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

impl Overview {
    fn of(answer: OverviewAnswer) -> Self {
        let OverviewAnswer { message_stats, queue_totals, object_totals, .. } = answer;
        let product = answer.product_name.unwrap_or_else(|| "RabbitMQ".to_owned());
        let version = answer.product_version.unwrap_or(answer.rabbitmq_version);
        let mut overview = Overview {
            broker: format!("{product} {version}"),
            cluster: answer.cluster_name,
            connections: object_totals.connections,
            channels: object_totals.channels,
            consumers: object_totals.consumers,
            ..Overview::default()
        };
        overview.put(&message_stats, &queue_totals);
        overview
    }

    fn put(&mut self, stats: &MessageStats, depth: &Depth) {
        self.publish_rate = stats.publish_details.rate;
        self.deliver_rate = stats.deliver_get_details.rate;
        self.ack_rate = stats.ack_details.rate;
        self.ready = depth.messages_ready;
        self.unacked = depth.messages_unacknowledged;
    }

    /// Replaces the sums by those of a virtual host.
    fn narrow(&mut self, name: &str, all: Vec<VhostAnswer>) -> Result<(), ApiError> {
        let found = all.into_iter().find(|vhost| vhost.name == name);
        let found = found.ok_or_else(|| ApiError::NoVhost(name.to_owned()))?;
        self.put(&found.message_stats, &found.depth);
        self.vhost = Some(found.name);
        Ok(())
    }
}

impl QueueFigures {
    fn of(answer: QueueAnswer) -> Self {
        QueueFigures {
            queue: answer.name,
            vhost: answer.vhost,
            ready: answer.messages_ready,
            unacked: answer.messages_unacknowledged,
            in_rate: answer.message_stats.publish_details.rate,
            out_rate: answer.message_stats.deliver_get_details.rate,
            consumers: answer.consumers,
        }
    }
}

impl ConnectionFigures {
    fn of(answer: ConnectionAnswer) -> Self {
        let given = answer.user_provided_name.filter(|name| !name.is_empty());
        ConnectionFigures {
            connection: match given {
                Some(given) => format!("{given} {}", answer.name),
                None => answer.name,
            },
            vhost: answer.vhost,
            user: answer.user,
            state: answer.state.unwrap_or_default(),
            channels: answer.channels,
            received_rate: answer.recv_oct_details.rate,
            sent_rate: answer.send_oct_details.rate,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_never_happened_is_zero_and_an_empty_list_stands_for_an_empty_object() {
        let text = r#"{"rabbitmq_version":"3.10.8","message_stats":[],"queue_totals":{},"object_totals":{"channels":2}}"#;
        let overview = Overview::of(serde_json::from_str(text).unwrap());
        assert_eq!((overview.broker.as_str(), overview.channels), ("RabbitMQ 3.10.8", 2));
        assert_eq!((overview.publish_rate, overview.ready), (0.0, 0));
        let queue = r#"{"name":"q","message_stats":{"publish_details":{"rate":2.5}}}"#;
        let queue = QueueFigures::of(serde_json::from_str(queue).unwrap());
        assert_eq!((queue.in_rate, queue.out_rate, queue.ready), (2.5, 0.0, 0));
    }

    #[test]
    fn the_sums_of_a_virtual_host_are_its_own() {
        let vhosts =
            r#"[{"name":"/"},{"name":"v","messages_ready":7,"message_stats":{"ack_details":{"rate":3}}}]"#;
        let mut overview = Overview { ready: 100, ..Overview::default() };
        overview.narrow("v", serde_json::from_str(vhosts).unwrap()).unwrap();
        assert_eq!((overview.ready, overview.ack_rate, overview.vhost.as_deref()), (7, 3.0, Some("v")));
        assert!(matches!(overview.narrow("w", Vec::new()), Err(ApiError::NoVhost(name)) if name == "w"));
    }
}
