use amqp_broker::{
    backend::Message,
    fuzzing::{claim, decode, decode_claim, encode, mark_redelivered, wire_priority},
};

/// Reads the bytes as an item of a kombu queue, and as an entry of the hash of claims. What is read
/// is the same after it was written and read again, marked as redelivered, or claimed and restored.
pub fn kombu_envelope(data: &[u8]) {
    item(data);
    if let Some(entry) = decode_claim(data) {
        assert!(data.windows(entry.envelope.len().max(1)).any(|part| part == entry.envelope));
        item(&entry.envelope);
    }
}

fn item(item: &[u8]) {
    let marked = mark_redelivered(item);
    let claimed = decode_claim(&claim(item, "the \"queue\""));
    let Some(decoded) = decode(item) else { return };
    assert_eq!(decoded.wire_priority, wire_priority(item));
    for as_text in [false, true] {
        let written = encode(&decoded.message, as_text).expect("what was read is text");
        let again = decode(&written).expect("what was written is read");
        assert_eq!(again.wire_priority, decoded.wire_priority);
        assert!(!again.redelivered);
        same(&again.message, &decoded.message);
    }
    let marked = decode(&marked.expect("a message can be marked")).expect("a marked message is read");
    assert!(marked.redelivered);
    let headers = decoded.message.properties.headers.as_ref();
    if !headers.is_some_and(|headers| headers.contains_key("redelivered")) {
        same(&marked.message, &decoded.message);
    }
    let claimed = claimed.expect("a claim of a message is read");
    assert_eq!((claimed.exchange.as_str(), claimed.routing_key.as_str()), ("", "the \"queue\""));
    assert_eq!(claimed.envelope, item.trim_ascii());
}

/// Checks that messages are the same but for a priority that is not written or out of its range.
fn same(again: &Message, first: &Message) {
    let mut again = again.clone();
    if first.properties.priority.is_none_or(|priority| priority > 9) {
        again.properties.priority = first.properties.priority;
    }
    // As text, so that a number that is none equals itself.
    assert_eq!(format!("{again:?}"), format!("{first:?}"));
}
