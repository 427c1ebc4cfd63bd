//! A broker's account of itself when a connection opens.

use amqp_client::Table as AmqpTable;
use serde::Serialize;

use crate::{message::value_json::table_to_json, output::table::Table};

/// The broker's account of itself.
#[derive(Debug, Serialize)]
pub(super) struct ServerInfo {
    product: String,
    version: String,
    cluster: String,
    platform: String,
    capabilities: Vec<String>,
}

impl ServerInfo {
    pub(super) fn of(properties: &AmqpTable) -> Self {
        let text = |name: &str| {
            let value = properties.get(name);
            value.and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
        };
        let capabilities = properties.get("capabilities");
        let capabilities = capabilities.as_ref().and_then(|value| value.as_table()).map(table_to_json);
        let capabilities = capabilities.unwrap_or_default().into_iter();
        ServerInfo {
            product: text("product"),
            version: text("version"),
            cluster: text("cluster_name"),
            platform: text("platform"),
            capabilities: capabilities
                .filter(|(_, is_there)| *is_there == true)
                .map(|(name, _)| name)
                .collect(),
        }
    }

    pub(super) fn table(all: &[Self]) -> Table {
        let mut table = Table::new(&["PRODUCT", "VERSION", "CLUSTER", "PLATFORM"]);
        for info in all {
            let cells = [&info.product, &info.version, &info.cluster, &info.platform];
            table.row(cells.map(String::clone));
        }
        table
    }
}
