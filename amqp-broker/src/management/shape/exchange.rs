//! Exchanges.

use serde_json::{Map, Value, json};

use crate::{core::vhost::inspect::ExchangeInfo, management::answer::table::table_json};

/// The name by which requests know the default exchange.
pub(crate) const DEFAULT: &str = "amq.default";

/// An exchange in a list.
pub(crate) fn exchange(vhost: &str, exchange: &ExchangeInfo) -> Map<String, Value> {
    let mut shown = Map::new();
    shown.insert("arguments".to_owned(), table_json(&exchange.arguments));
    shown.insert("auto_delete".to_owned(), exchange.auto_delete.into());
    shown.insert("durable".to_owned(), exchange.durable.into());
    shown.insert("internal".to_owned(), exchange.internal.into());
    shown.insert("name".to_owned(), exchange.name.as_str().into());
    shown.insert("type".to_owned(), exchange.kind.as_str().into());
    shown.insert("vhost".to_owned(), vhost.into());
    shown
}

/// The default exchange of a virtual host.
pub(crate) fn default_exchange(vhost: &str) -> Map<String, Value> {
    let shown = json!({
        "arguments": {},
        "auto_delete": false,
        "durable": true,
        "internal": false,
        "name": "",
        "type": "direct",
        "vhost": vhost,
    });
    if let Value::Object(shown) = shown { shown } else { Map::new() }
}
