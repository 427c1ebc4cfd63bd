//! Refusals about consumers, deliveries and channels.

use amqp_codec::method::{basic, channel};

use crate::tests::steps::{
    Case,
    Closed::{Channel, Connection, Nothing},
    consume, name, on, queue, queue_with, script,
};

pub(super) fn all() -> Vec<Case> {
    let nack = basic::Nack { delivery_tag: 99, ..Default::default() };
    let qos = basic::Qos { prefetch_size: 10, ..Default::default() };
    let exclusive = basic::Consume { exclusive: true, ..consume("q2", "a") };
    vec![
        (
            "no queue",
            script([on(consume("nope", ""))]),
            Channel,
            "404 NOT_FOUND - no queue 'nope' in vhost 'sem'",
        ),
        (
            "tag taken",
            script([on(queue("q2")), on(consume("q2", "t")), on(consume("q2", "t"))]),
            Connection,
            "530 NOT_ALLOWED - attempt to reuse consumer tag 't'",
        ),
        (
            "exclusive twice",
            script([on(queue("q2")), on(exclusive), on(consume("q2", "b"))]),
            Channel,
            "403 ACCESS_REFUSED - queue 'q2' in vhost 'sem' in exclusive use",
        ),
        (
            "exclusive among single active ones",
            script([
                on(queue_with("q2", [("x-single-active-consumer", true.into())])),
                on(basic::Consume { exclusive: true, ..consume("q2", "a") }),
            ]),
            Channel,
            "403 ACCESS_REFUSED - queue 'q2' in vhost 'sem' in exclusive use",
        ),
        (
            "get, no queue",
            script([on(basic::Get { queue: name("nope"), ..Default::default() })]),
            Channel,
            "404 NOT_FOUND - no queue 'nope' in vhost 'sem'",
        ),
        (
            "no last queue",
            script([on(basic::Get::default())]),
            Channel,
            "404 NOT_FOUND - no previously declared queue",
        ),
        (
            "ack unknown",
            script([on(basic::Ack { delivery_tag: 99, multiple: false })]),
            Channel,
            "406 PRECONDITION_FAILED - unknown delivery tag 99",
        ),
        (
            "ack unknown, multiple",
            script([on(basic::Ack { delivery_tag: 99, multiple: true })]),
            Channel,
            "406 PRECONDITION_FAILED - unknown delivery tag 99",
        ),
        ("nack unknown", script([on(nack)]), Channel, "406 PRECONDITION_FAILED - unknown delivery tag 99"),
        (
            "reject unknown",
            script([on(basic::Reject { delivery_tag: 99, requeue: true })]),
            Channel,
            "406 PRECONDITION_FAILED - unknown delivery tag 99",
        ),
        (
            "ack 0",
            script([on(basic::Ack { delivery_tag: 0, multiple: false })]),
            Channel,
            "406 PRECONDITION_FAILED - unknown delivery tag 0",
        ),
        ("ack all of none", script([on(basic::Ack { delivery_tag: 0, multiple: true })]), Nothing, ""),
        ("qos in bytes", script([on(qos)]), Connection, "540 NOT_IMPLEMENTED - prefetch_size!=0 (10)"),
        (
            "recover without requeue",
            script([on(basic::Recover { requeue: false })]),
            Connection,
            "540 NOT_IMPLEMENTED - requeue=false",
        ),
        (
            "flow stopped",
            script([on(channel::Flow { active: false })]),
            Connection,
            "540 NOT_IMPLEMENTED - active=false",
        ),
    ]
}
