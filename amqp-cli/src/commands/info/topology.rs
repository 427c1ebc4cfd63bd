//! The topology of a virtual host, as a management API tells it.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};

use crate::{api_error::ApiError, management::endpoint::Endpoint};

/// The exchanges, queues and bindings of a virtual host.
#[derive(Debug, Default)]
pub(super) struct Topology {
    pub(super) exchanges: Vec<ExchangeInfo>,
    pub(super) queues: Vec<QueueInfo>,
    pub(super) bindings: Vec<BindingInfo>,
}

/// An exchange. The default one has no name.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct ExchangeInfo {
    #[serde(rename(serialize = "exchange"))]
    pub(super) name: String,
    #[serde(rename = "type")]
    pub(super) kind: String,
    #[serde(default)]
    pub(super) durable: bool,
    #[serde(default)]
    pub(super) auto_delete: bool,
    #[serde(default)]
    pub(super) internal: bool,
}

#[derive(Debug, Deserialize, Serialize)]
pub(super) struct QueueInfo {
    #[serde(rename(serialize = "queue"))]
    pub(super) name: String,
    #[serde(default, rename = "type")]
    pub(super) kind: String,
    #[serde(default)]
    pub(super) durable: bool,
    /// The broker may not have counted yet.
    #[serde(default)]
    pub(super) messages: Option<u64>,
    #[serde(default)]
    pub(super) messages_unacknowledged: Option<u64>,
    #[serde(default)]
    pub(super) consumers: Option<u64>,
}

#[derive(Debug, Deserialize, Serialize)]
pub(super) struct BindingInfo {
    pub(super) source: String,
    pub(super) destination: String,
    pub(super) destination_type: String,
    pub(super) routing_key: String,
}

impl Topology {
    /// Asks for all exchanges, queues and bindings of a virtual host.
    ///
    /// # Errors
    /// When there is no answer, or another than was asked for.
    pub(super) async fn ask(endpoint: &Endpoint, vhost: &str) -> Result<Self, ApiError> {
        let vhost = utf8_percent_encode(vhost, NON_ALPHANUMERIC);
        let [exchanges, queues, bindings] =
            ["exchanges", "queues", "bindings"].map(|what| format!("/api/{what}/{vhost}"));
        let mut api = endpoint.open().await?;
        Ok(Topology {
            exchanges: api.get(&exchanges).await?,
            queues: api.get(&queues).await?,
            bindings: api.get(&bindings).await?,
        })
    }
}
