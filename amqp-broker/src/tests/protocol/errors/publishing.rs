//! Refusals about publishes and channel modes.

use amqp_codec::{
    Array, Properties, Value,
    method::{basic, confirm, exchange, tx},
};

use crate::tests::steps::{
    Case,
    Closed::{Channel, Connection, Nothing},
    content, exchange, name, on, publish, script, table,
};

pub(super) fn all() -> Vec<Case> {
    let with_header =
        |key: &str, value: Value| Properties { headers: Some(table([(key, value)])), ..Default::default() };
    let expiring = |text: &str| Properties { expiration: Some(name(text)), ..Default::default() };
    let immediate = basic::Publish { immediate: true, ..Default::default() };
    let as_other = Properties { user_id: Some(name("other")), ..Default::default() };
    let as_guest = Properties { user_id: Some(name("guest")), ..Default::default() };
    let mut copies = Array::new();
    copies.push("q").unwrap();
    vec![
        (
            "internal exchange",
            [
                script([on(exchange::Declare { internal: true, ..exchange("ei", "direct") })]),
                publish("ei", "", &Properties::default()).to_vec(),
            ]
            .concat(),
            Channel,
            "403 ACCESS_REFUSED - cannot publish to internal exchange 'ei' in vhost 'sem'",
        ),
        (
            "no exchange",
            publish("nope", "", &Properties::default()).to_vec(),
            Channel,
            "404 NOT_FOUND - no exchange 'nope' in vhost 'sem'",
        ),
        (
            "immediate",
            content(immediate, &Properties::default()).to_vec(),
            Connection,
            "540 NOT_IMPLEMENTED - immediate=true",
        ),
        (
            "user_id of another",
            publish("", "q", &as_other).to_vec(),
            Channel,
            "406 PRECONDITION_FAILED - user_id property set to 'other' but authenticated user was 'guest'",
        ),
        ("user_id", publish("", "q", &as_guest).to_vec(), Nothing, ""),
        (
            "expiration, not a number",
            publish("", "q", &expiring("abc")).to_vec(),
            Channel,
            "406 PRECONDITION_FAILED - invalid expiration 'abc': no_integer",
        ),
        (
            "expiration, negative",
            publish("", "q", &expiring("-1")).to_vec(),
            Channel,
            "406 PRECONDITION_FAILED - invalid expiration '-1': {value_negative,-1}",
        ),
        (
            "CC, no array",
            publish("", "q", &with_header("CC", "q".into())).to_vec(),
            Channel,
            "406 PRECONDITION_FAILED - invalid message: {unacceptable_type_in_header,\"CC\",longstr}",
        ),
        ("CC", publish("", "q", &with_header("CC", Value::Array(copies))).to_vec(), Nothing, ""),
        (
            "tx, then confirm",
            script([on(tx::Select {}), on(confirm::Select::default())]),
            Channel,
            "406 PRECONDITION_FAILED - cannot switch from tx to confirm mode",
        ),
        (
            "confirm, then tx",
            script([on(confirm::Select::default()), on(tx::Select {})]),
            Channel,
            "406 PRECONDITION_FAILED - cannot switch from confirm to tx mode",
        ),
        (
            "commit without tx",
            script([on(tx::Commit {})]),
            Channel,
            "406 PRECONDITION_FAILED - channel is not transactional",
        ),
        (
            "rollback without tx",
            script([on(tx::Rollback {})]),
            Channel,
            "406 PRECONDITION_FAILED - channel is not transactional",
        ),
    ]
}
