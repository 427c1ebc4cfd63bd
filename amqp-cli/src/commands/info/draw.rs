//! A topology as tables, as a tree and as a graph.

use std::collections::BTreeSet;

use super::topology::{BindingInfo, ExchangeInfo, QueueInfo, Topology};
use crate::output::{escape::escaped_line, table::Table};

/// The name under which an exchange without one is shown.
const DEFAULT: &str = "(default)";

fn named(exchange: &str) -> &str {
    if exchange.is_empty() { DEFAULT } else { exchange }
}

pub(super) fn exchanges(exchanges: &[ExchangeInfo]) -> Table {
    let mut table = Table::new(&["EXCHANGE", "TYPE", "FLAGS"]);
    for exchange in exchanges {
        let flags = [
            (exchange.durable, "durable"),
            (exchange.auto_delete, "auto-delete"),
            (exchange.internal, "internal"),
        ];
        let flags: Vec<_> = flags.into_iter().filter(|(is_set, _)| *is_set).map(|(_, name)| name).collect();
        table.row([named(&exchange.name).to_owned(), exchange.kind.clone(), flags.join(" ")]);
    }
    table
}

pub(super) fn queues(queues: &[QueueInfo]) -> Table {
    let mut table = Table::new(&["QUEUE", "TYPE", "MESSAGES", "UNACKED", "CONSUMERS"]);
    let count = |count: Option<u64>| count.map(|count| count.to_string()).unwrap_or_default();
    for queue in queues {
        let (messages, unacked) = (count(queue.messages), count(queue.messages_unacknowledged));
        table.row([queue.name.clone(), queue.kind.clone(), messages, unacked, count(queue.consumers)]);
    }
    table
}

pub(super) fn bindings(bindings: &[BindingInfo]) -> Table {
    let mut table = Table::new(&["SOURCE", "KEY", "DESTINATION", "KIND"]);
    for binding in bindings {
        let BindingInfo { source, routing_key, destination, destination_type } = binding;
        let cells = [named(source), routing_key, destination, destination_type];
        table.row(cells.map(str::to_owned));
    }
    table
}

/// Exchanges, and below each what is bound to it, down to the queues. An exchange that is already
/// above itself is not followed again. The default exchange, which has all queues, is left out.
pub(super) fn tree(topology: &Topology) -> String {
    let mut drawn = String::new();
    for exchange in topology.exchanges.iter().filter(|exchange| !exchange.name.is_empty()) {
        drawn.push_str(&format!("{} ({})\n", escaped_line(&exchange.name), escaped_line(&exchange.kind)));
        let mut above = vec![exchange.name.as_str()];
        branches(topology, &mut above, "", &mut drawn);
    }
    let bound: BTreeSet<&str> = topology
        .bindings
        .iter()
        .filter(|binding| !binding.source.is_empty())
        .map(|binding| binding.destination.as_str())
        .collect();
    for queue in topology.queues.iter().filter(|queue| !bound.contains(queue.name.as_str())) {
        drawn.push_str(&format!("{}\n", queue_label(queue)));
    }
    drawn
}

/// The most exchanges one below the other that are drawn.
const DEEPEST: usize = 32;

fn branches<'a>(topology: &'a Topology, above: &mut Vec<&'a str>, indent: &str, drawn: &mut String) {
    let source = above.last().copied().unwrap_or_default();
    let mut below = topology.bindings.iter().filter(|binding| binding.source == source).peekable();
    while let Some(binding) = below.next() {
        let (branch, further) =
            if below.peek().is_some() { ("├─ ", "│  ") } else { ("└─ ", "   ") };
        let key = escaped_line(&binding.routing_key);
        let key = if key.is_empty() { String::new() } else { format!("{key} → ") };
        if binding.destination_type == "exchange" {
            let name = escaped_line(&binding.destination);
            let is_circle = above.contains(&binding.destination.as_str());
            let mark = if is_circle { " (see above)" } else { "" };
            drawn.push_str(&format!("{indent}{branch}{key}{name}{mark}\n"));
            if !is_circle && above.len() < DEEPEST {
                above.push(&binding.destination);
                branches(topology, above, &format!("{indent}{further}"), drawn);
                above.pop();
            }
        } else {
            let queue = topology.queues.iter().find(|queue| queue.name == binding.destination);
            let label = queue.map_or_else(|| escaped_line(&binding.destination).into_owned(), queue_label);
            drawn.push_str(&format!("{indent}{branch}{key}{label}\n"));
        }
    }
}

fn queue_label(queue: &QueueInfo) -> String {
    let messages = queue.messages.unwrap_or_default();
    format!("[{}] {messages} messages", escaped_line(&queue.name))
}

/// A graph in Graphviz's language: exchanges as ellipses, queues as boxes.
pub(super) fn dot(topology: &Topology) -> String {
    let mut drawn = String::from("digraph topology {\n  rankdir=LR;\n");
    for exchange in topology.exchanges.iter().filter(|exchange| !exchange.name.is_empty()) {
        let label = quoted(&format!("{}\n{}", exchange.name, exchange.kind));
        drawn.push_str(&format!("  {} [label={label}];\n", node("exchange", &exchange.name)));
    }
    for queue in &topology.queues {
        drawn.push_str(&format!(
            "  {} [shape=box, label={}];\n",
            node("queue", &queue.name),
            quoted(&queue.name)
        ));
    }
    for binding in topology.bindings.iter().filter(|binding| !binding.source.is_empty()) {
        let from = node("exchange", &binding.source);
        let to = node(&binding.destination_type, &binding.destination);
        drawn.push_str(&format!("  {from} -> {to} [label={}];\n", quoted(&binding.routing_key)));
    }
    drawn.push_str("}\n");
    drawn
}

fn node(kind: &str, name: &str) -> String {
    quoted(&format!("{kind} {name}"))
}

/// A text between double quotes, where a backslash escapes; a line feed is `\n`.
fn quoted(text: &str) -> String {
    let escaped: Vec<String> =
        text.split('\n').map(|line| escaped_line(line).replace('\\', "\\\\").replace('"', "\\\"")).collect();
    format!("\"{}\"", escaped.join("\\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topology() -> Topology {
        let exchange = |name: &str, kind: &str| ExchangeInfo {
            name: name.to_owned(),
            kind: kind.to_owned(),
            durable: true,
            auto_delete: false,
            internal: false,
        };
        let queue = |name: &str| QueueInfo {
            name: name.to_owned(),
            kind: "classic".to_owned(),
            durable: true,
            messages: Some(2),
            messages_unacknowledged: Some(0),
            consumers: None,
        };
        let binding = |source: &str, key: &str, kind: &str, destination: &str| BindingInfo {
            source: source.to_owned(),
            destination: destination.to_owned(),
            destination_type: kind.to_owned(),
            routing_key: key.to_owned(),
        };
        Topology {
            exchanges: vec![exchange("", "direct"), exchange("a", "topic"), exchange("b", "fanout")],
            queues: vec![queue("q"), queue("alone\u{1b}\"")],
            bindings: vec![
                binding("", "q", "queue", "q"),
                binding("a", "k.#", "queue", "q"),
                binding("a", "", "exchange", "b"),
                binding("b", "", "exchange", "a"),
            ],
        }
    }

    #[test]
    fn a_tree_has_everything_once_below_what_it_is_bound_to_and_no_endless_circle() {
        let drawn = "\
a (topic)
├─ k.# → [q] 2 messages
└─ b
   └─ a (see above)
b (fanout)
└─ a
   ├─ k.# → [q] 2 messages
   └─ b (see above)
[alone\\u{1b}\"] 2 messages
";
        assert_eq!(tree(&topology()), drawn);
    }

    #[test]
    fn a_graph_has_nodes_and_edges_whose_names_are_quoted() {
        let drawn = dot(&topology());
        for line in [
            r#"  "exchange a" [label="a\ntopic"];"#,
            r#"  "queue alone\\u{1b}\"" [shape=box, label="alone\\u{1b}\""];"#,
            r#"  "exchange a" -> "queue q" [label="k.#"];"#,
            r#"  "exchange b" -> "exchange a" [label=""];"#,
        ] {
            assert!(drawn.lines().any(|drawn| drawn == line), "{line}\n{drawn}");
        }
    }
}
