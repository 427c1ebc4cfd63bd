//! Bindings, and the keys by which requests name them.

use amqp_codec::Table;
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::{core::vhost::inspect::BindingInfo, management::answer::table::table_json};

/// A binding in a list.
pub(crate) fn binding(vhost: &str, binding: &BindingInfo) -> Value {
    json!({
        "arguments": table_json(&binding.arguments),
        "destination": binding.destination,
        "destination_type": if binding.to_exchange { "exchange" } else { "queue" },
        "properties_key": properties_key(binding),
        "routing_key": binding.routing_key,
        "source": binding.source,
        "vhost": vhost,
    })
}

/// The binding of a queue to the default exchange.
pub(crate) fn default_binding(queue: &str) -> BindingInfo {
    BindingInfo {
        source: String::new(),
        destination: queue.to_owned(),
        to_exchange: false,
        routing_key: queue.to_owned(),
        arguments: Table::new(),
    }
}

/// The key of a binding among those between the same entities: its routing key and, if it has
/// arguments, a hash of them.
pub(crate) fn properties_key(binding: &BindingInfo) -> String {
    let key = quoted(&binding.routing_key);
    match (key.is_empty(), binding.arguments.is_empty()) {
        (true, true) => "~".to_owned(),
        (false, true) => key,
        (_, false) => format!("{key}~{}", hash(binding.arguments.as_encoded())),
    }
}

/// The routing key with other octets than letters, digits and some signs as `%XX`, and spaces as
/// plus signs.
fn quoted(key: &str) -> String {
    let mut text = String::new();
    for octet in key.bytes() {
        match octet {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.' | b'-' => text.push(octet.into()),
            b' ' => text.push('+'),
            other => text.push_str(&format!("%{other:02X}")),
        }
    }
    text
}

/// A hash of 32 bits (FNV-1a), as text.
fn hash(octets: &[u8]) -> String {
    let mix = |hash: u32, octet: &u8| (hash ^ u32::from(*octet)).wrapping_mul(0x0100_0193);
    BASE64_URL_SAFE_NO_PAD.encode(octets.iter().fold(0x811c_9dc5, mix).to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_binding_is_named_by_its_key_and_its_arguments() {
        let mut info = default_binding("q");
        let mut key_of = |key: &str, arguments: Table| {
            (info.routing_key, info.arguments) = (key.to_owned(), arguments);
            properties_key(&info)
        };
        assert_eq!(key_of("", Table::new()), "~");
        assert_eq!(key_of("a.#", Table::new()), "a.%23");
        assert_eq!(key_of("sp ace/~%", Table::new()), "sp+ace%2F%7E%25");
        let mut table = Table::new();
        table.insert("x", 1).unwrap();
        let (one, again) = (key_of("k", table.clone()), key_of("k", table));
        assert!(one == again && one.starts_with("k~") && one.len() == 8, "{one}");
    }
}
