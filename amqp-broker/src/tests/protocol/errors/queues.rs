//! Refusals about queues and what is bound to them.

use amqp_codec::{Properties, Value, method::queue};

use crate::tests::steps::{
    Case,
    Closed::{Channel, Nothing},
    bind, consume, name, on, publish, queue, queue_with, quorum, script, table, unbind,
};

pub(super) fn all() -> Vec<Case> {
    let twice = |second: queue::Declare| script([on(queue("qd")), on(second)]);
    let invalid = |argument: &str, value: Value| script([on(queue_with("qb", [(argument, value)]))]);
    let delete = |text: &str| queue::Delete { queue: name(text), ..Default::default() };
    vec![
        (
            "passive, missing",
            script([on(queue::Declare { passive: true, ..queue("nope") })]),
            Channel,
            "404 NOT_FOUND - no queue 'nope' in vhost 'sem'",
        ),
        (
            "reserved name",
            script([on(queue("amq.mine"))]),
            Channel,
            "403 ACCESS_REFUSED - queue name 'amq.mine' contains reserved prefix 'amq.*'",
        ),
        (
            "durable differs",
            twice(queue::Declare { durable: true, ..queue("qd") }),
            Channel,
            "406 PRECONDITION_FAILED - inequivalent arg 'durable' for queue 'qd' in vhost 'sem': \
             received 'true' but current is 'false'",
        ),
        (
            "auto_delete differs",
            twice(queue::Declare { auto_delete: true, ..queue("qd") }),
            Channel,
            "406 PRECONDITION_FAILED - inequivalent arg 'auto_delete' for queue 'qd' in vhost 'sem': \
             received 'true' but current is 'false'",
        ),
        (
            "exclusive differs",
            twice(queue::Declare { exclusive: true, ..queue("qd") }),
            Channel,
            "405 RESOURCE_LOCKED - cannot obtain exclusive access to locked queue 'qd' in vhost 'sem'. It could be \
             originally declared on another connection or the exclusive property value does not match that of the \
             original declaration.",
        ),
        (
            "ttl, none before",
            twice(queue_with("qd", [("x-message-ttl", 5.into())])),
            Channel,
            "406 PRECONDITION_FAILED - inequivalent arg 'x-message-ttl' for queue 'qd' in vhost 'sem': \
             received the value '5' of type 'signedint' but current is none",
        ),
        (
            "ttl, another",
            script([
                on(queue_with("qt", [("x-message-ttl", 6.into())])),
                on(queue_with("qt", [("x-message-ttl", 5.into())])),
            ]),
            Channel,
            "406 PRECONDITION_FAILED - inequivalent arg 'x-message-ttl' for queue 'qt' in vhost 'sem': \
             received '5' but current is '6'",
        ),
        (
            "ttl, void beside a value",
            script([
                on(queue_with("qt", [("x-message-ttl", 6.into())])),
                on(queue_with("qt", [("x-message-ttl", Value::Void)])),
            ]),
            Channel,
            "406 PRECONDITION_FAILED - inequivalent arg 'x-message-ttl' for queue 'qt' in vhost 'sem': \
             received none but current is '6'",
        ),
        (
            "ttl, void beside nothing",
            twice(queue_with("qd", [("x-message-ttl", Value::Void)])),
            Channel,
            "406 PRECONDITION_FAILED - inequivalent arg 'x-message-ttl' for queue 'qd' in vhost 'sem': \
             received the value 'undefined' of type 'void' but current is none",
        ),
        (
            "text longer than a short string",
            script([on(queue::Declare { passive: true, ..queue(&"q".repeat(250)) })]),
            Channel,
            "404 NOT_FOUND - no queue 'qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq\
             qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq\
             qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq...",
        ),
        (
            "ttl, not a number",
            invalid("x-message-ttl", "5".into()),
            Channel,
            "406 PRECONDITION_FAILED - invalid arg 'x-message-ttl' for queue 'qb' in vhost 'sem': \
             \"expected integer, got longstr\"",
        ),
        (
            "ttl, negative",
            invalid("x-message-ttl", (-1).into()),
            Channel,
            "406 PRECONDITION_FAILED - invalid arg 'x-message-ttl' for queue 'qb' in vhost 'sem': {value_negative,-1}",
        ),
        (
            "expires, 0",
            invalid("x-expires", 0.into()),
            Channel,
            "406 PRECONDITION_FAILED - invalid arg 'x-expires' for queue 'qb' in vhost 'sem': {value_zero,0}",
        ),
        (
            "max-length, negative",
            invalid("x-max-length", (-1).into()),
            Channel,
            "406 PRECONDITION_FAILED - invalid arg 'x-max-length' for queue 'qb' in vhost 'sem': {value_negative,-1}",
        ),
        (
            "overflow, unknown",
            invalid("x-overflow", "bogus".into()),
            Channel,
            "406 PRECONDITION_FAILED - invalid arg 'x-overflow' for queue 'qb' in vhost 'sem': invalid_overflow",
        ),
        (
            "max-priority, 256",
            invalid("x-max-priority", 256.into()),
            Channel,
            "406 PRECONDITION_FAILED - invalid arg 'x-max-priority' for queue 'qb' in vhost 'sem': \
             {max_value_exceeded,256}",
        ),
        (
            "dead letter key without exchange",
            invalid("x-dead-letter-routing-key", "k".into()),
            Channel,
            "406 PRECONDITION_FAILED - invalid arg 'x-dead-letter-routing-key' for queue 'qb' in vhost 'sem': \
             routing_key_but_no_dlx_defined",
        ),
        (
            "type, unknown",
            invalid("x-queue-type", "bogus".into()),
            Channel,
            "406 PRECONDITION_FAILED - invalid arg 'x-queue-type' for queue 'qb' in vhost 'sem': \
             \"unsupported queue type 'bogus'\"",
        ),
        (
            "quorum, not durable",
            script([on(queue::Declare { durable: false, ..quorum([]) })]),
            Channel,
            "406 PRECONDITION_FAILED - invalid property 'non-durable' for queue 'qb' in vhost 'sem'",
        ),
        (
            "quorum, exclusive",
            script([on(queue::Declare { exclusive: true, ..quorum([]) })]),
            Channel,
            "406 PRECONDITION_FAILED - invalid property 'exclusive-owner' for queue 'qb' in vhost 'sem'",
        ),
        (
            "quorum, priorities",
            script([on(quorum([("x-max-priority", 5.into())]))]),
            Channel,
            "406 PRECONDITION_FAILED - invalid arg 'x-max-priority' for queue 'qb' in vhost 'sem' of queue type \
             rabbit_quorum_queue",
        ),
        ("unknown argument", script([on(queue_with("qb", [("x-bogus", 1.into())]))]), Nothing, ""),
        ("longest name", script([on(queue(&"q".repeat(255)))]), Nothing, ""),
        (
            "bind, no queue",
            script([on(bind("nope", "amq.direct"))]),
            Channel,
            "404 NOT_FOUND - no queue 'nope' in vhost 'sem'",
        ),
        (
            "bind, no exchange",
            script([on(queue("q")), on(bind("q", "nope"))]),
            Channel,
            "404 NOT_FOUND - no exchange 'nope' in vhost 'sem'",
        ),
        (
            "bind, default exchange",
            script([on(queue("q")), on(bind("q", ""))]),
            Channel,
            "403 ACCESS_REFUSED - operation not permitted on the default exchange",
        ),
        (
            "unbind, default exchange",
            script([on(queue("q")), on(unbind("q", ""))]),
            Channel,
            "403 ACCESS_REFUSED - operation not permitted on the default exchange",
        ),
        ("unbind, no binding", script([on(queue("q")), on(unbind("q", "amq.direct"))]), Nothing, ""),
        ("unbind, no exchange", script([on(queue("q")), on(unbind("q", "nope"))]), Nothing, ""),
        (
            "headers, bad x-match",
            script([
                on(queue("q")),
                on(queue::Bind {
                    arguments: table([("x-match", "bogus".into())]),
                    ..bind("q", "amq.headers")
                }),
            ]),
            Channel,
            "406 PRECONDITION_FAILED - Invalid x-match field value <<\"bogus\">>; expected all, any, all-with-x, \
             or any-with-x",
        ),
        ("delete, missing", script([on(delete("nope"))]), Nothing, ""),
        (
            "delete if_empty, not empty",
            [
                script([on(queue("q3"))]),
                publish("", "q3", &Properties::default()).to_vec(),
                script([on(queue::Delete { if_empty: true, ..delete("q3") })]),
            ]
            .concat(),
            Channel,
            "406 PRECONDITION_FAILED - queue 'q3' in vhost 'sem' not empty",
        ),
        (
            "delete if_unused, used",
            script([
                on(queue("q3")),
                on(consume("q3", "t")),
                on(queue::Delete { if_unused: true, ..delete("q3") }),
            ]),
            Channel,
            "406 PRECONDITION_FAILED - queue 'q3' in vhost 'sem' in use",
        ),
        (
            "purge, missing",
            script([on(queue::Purge { queue: name("nope"), ..Default::default() })]),
            Channel,
            "404 NOT_FOUND - no queue 'nope' in vhost 'sem'",
        ),
    ]
}
