//! Refusals about exchanges.

use amqp_codec::method::exchange;

use crate::tests::steps::{
    Case,
    Closed::{Channel, Connection, Nothing},
    bind, exchange, name, on, queue, script, table,
};

pub(super) fn all() -> Vec<Case> {
    let e1 = || exchange("e1", "direct");
    let twice = |second: exchange::Declare| script([on(e1()), on(second)]);
    let delete = |text: &str| exchange::Delete { exchange: name(text), ..Default::default() };
    let alternate = table([("alternate-exchange", "ae".into())]);
    vec![
        (
            "passive, missing",
            script([on(exchange::Declare { passive: true, ..exchange("nope", "") })]),
            Channel,
            "404 NOT_FOUND - no exchange 'nope' in vhost 'sem'",
        ),
        (
            "unknown type",
            script([on(exchange("e1", "bogus"))]),
            Connection,
            "503 COMMAND_INVALID - unknown exchange type 'bogus'",
        ),
        (
            "empty type",
            script([on(exchange("e1", ""))]),
            Connection,
            "503 COMMAND_INVALID - invalid exchange type ''",
        ),
        (
            "reserved name",
            script([on(exchange("amq.mine", "direct"))]),
            Channel,
            "403 ACCESS_REFUSED - exchange name 'amq.mine' contains reserved prefix 'amq.*'",
        ),
        (
            "default, declared",
            script([on(exchange("", "direct"))]),
            Channel,
            "403 ACCESS_REFUSED - operation not permitted on the default exchange",
        ),
        (
            "default, deleted",
            script([on(delete(""))]),
            Channel,
            "403 ACCESS_REFUSED - operation not permitted on the default exchange",
        ),
        (
            "predeclared, deleted",
            script([on(delete("amq.direct"))]),
            Channel,
            "403 ACCESS_REFUSED - deletion of system exchange 'amq.direct' in vhost 'sem' not allowed",
        ),
        ("missing, deleted", script([on(delete("nope"))]), Nothing, ""),
        (
            "predeclared, declared as it is",
            script([on(exchange::Declare { durable: true, ..exchange("amq.direct", "direct") })]),
            Nothing,
            "",
        ),
        (
            "type differs",
            twice(exchange("e1", "topic")),
            Channel,
            "406 PRECONDITION_FAILED - inequivalent arg 'type' for exchange 'e1' in vhost 'sem': \
             received 'topic' but current is 'direct'",
        ),
        (
            "durable differs",
            twice(exchange::Declare { durable: true, ..e1() }),
            Channel,
            "406 PRECONDITION_FAILED - inequivalent arg 'durable' for exchange 'e1' in vhost 'sem': \
             received 'true' but current is 'false'",
        ),
        (
            "auto_delete differs",
            twice(exchange::Declare { auto_delete: true, ..e1() }),
            Channel,
            "406 PRECONDITION_FAILED - inequivalent arg 'auto_delete' for exchange 'e1' in vhost 'sem': \
             received 'true' but current is 'false'",
        ),
        (
            "internal differs",
            twice(exchange::Declare { internal: true, ..e1() }),
            Channel,
            "406 PRECONDITION_FAILED - inequivalent arg 'internal' for exchange 'e1' in vhost 'sem': \
             received 'true' but current is 'false'",
        ),
        (
            "alternate differs",
            twice(exchange::Declare { arguments: alternate, ..e1() }),
            Channel,
            "406 PRECONDITION_FAILED - inequivalent arg 'alternate-exchange' for exchange 'e1' in vhost 'sem': \
             received the value 'ae' of type 'longstr' but current is none",
        ),
        (
            "if_unused, in use",
            script([
                on(exchange("e2", "fanout")),
                on(queue("q")),
                on(bind("q", "e2")),
                on(exchange::Delete { if_unused: true, ..delete("e2") }),
            ]),
            Channel,
            "406 PRECONDITION_FAILED - exchange 'e2' in vhost 'sem' in use",
        ),
        (
            "e2e, missing",
            script([on(exchange::Bind {
                destination: name("nope"),
                source: name("amq.direct"),
                ..Default::default()
            })]),
            Channel,
            "404 NOT_FOUND - no exchange 'nope' in vhost 'sem'",
        ),
    ]
}
