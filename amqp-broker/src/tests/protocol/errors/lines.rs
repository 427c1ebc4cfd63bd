//! Names with line breaks.

use amqp_codec::{
    Frame, Properties,
    method::{basic, exchange, queue},
};

use crate::tests::steps::{
    Case,
    Closed::{Channel, Nothing},
    bind, consume, exchange, name, on, publish, queue, script, unbind,
};

/// Names with line breaks, which declare, delete, bind and unbind remove, and no other method.
pub(super) fn all() -> Vec<Case> {
    let made = || script([on(queue("q\r\n2")), on(exchange("e\n1", "direct"))]);
    let then = |frame: Frame| [made(), vec![frame]].concat();
    let passive = |text: &str| queue::Declare { passive: true, ..queue(text) };
    let delete = |text: &str| exchange::Delete { exchange: name(text), ..Default::default() };
    let get = |text: &str| basic::Get { queue: name(text), ..Default::default() };
    let purge = |text: &str| queue::Purge { queue: name(text), ..Default::default() };
    let between = |to: &str, from: &str| exchange::Bind {
        destination: name(to),
        source: name(from),
        ..Default::default()
    };
    let no_queue = "404 NOT_FOUND - no queue 'q\n2' in vhost 'sem'";
    let default = "403 ACCESS_REFUSED - operation not permitted on the default exchange";
    vec![
        ("queue, declared", then(on(passive("q2"))), Nothing, ""),
        ("queue, asked for", then(on(passive("q\n2"))), Nothing, ""),
        (
            "queue, missing",
            script([on(passive("no\npe"))]),
            Channel,
            "404 NOT_FOUND - no queue 'nope' in vhost 'sem'",
        ),
        (
            "queue, deleted",
            then(on(queue::Delete { queue: name("\rq2"), if_unused: true, ..Default::default() })),
            Nothing,
            "",
        ),
        (
            "queue of nothing else, deleted",
            then(on(queue::Delete { queue: name("\n"), ..Default::default() })),
            Nothing,
            "",
        ),
        ("queue of nothing else", script([on(queue("\r\n")), on(get(""))]), Nothing, ""),
        (
            "queue, reserved",
            script([on(queue("am\nq.mine"))]),
            Channel,
            "403 ACCESS_REFUSED - queue name 'amq.mine' contains reserved prefix 'amq.*'",
        ),
        ("queue, got from", then(on(get("q\n2"))), Channel, no_queue),
        ("queue, purged", then(on(purge("q\n2"))), Channel, no_queue),
        ("queue, consumed from", then(on(consume("q\n2", "t"))), Channel, no_queue),
        (
            "exchange, declared",
            then(on(exchange("e1", "fanout"))),
            Channel,
            "406 PRECONDITION_FAILED - inequivalent arg 'type' for exchange 'e1' in vhost 'sem': received 'fanout' but current is 'direct'",
        ),
        (
            "exchange, missing",
            script([on(exchange::Declare { passive: true, ..exchange("no\npe", "direct") })]),
            Channel,
            "404 NOT_FOUND - no exchange 'nope' in vhost 'sem'",
        ),
        (
            "exchange, predeclared, deleted",
            script([on(delete("amq.\ndirect"))]),
            Channel,
            "403 ACCESS_REFUSED - deletion of system exchange 'amq.direct' in vhost 'sem' not allowed",
        ),
        ("exchange of nothing else", script([on(exchange("\r\n", "direct"))]), Channel, default),
        ("exchange of nothing else, deleted", script([on(delete("\n"))]), Channel, default),
        ("exchange of nothing else, bound", then(on(bind("q2", "\n"))), Channel, default),
        ("exchange of nothing else, bound to", then(on(between("amq.fanout", "\n"))), Channel, default),
        (
            "exchange, published to",
            [made(), publish("e\n1", "", &Properties::default()).to_vec()].concat(),
            Channel,
            "404 NOT_FOUND - no exchange 'e\n1' in vhost 'sem'",
        ),
        ("binding", then(on(bind("\nq2", "e1\n"))), Nothing, ""),
        ("binding that goes", then(on(unbind("\nq2", "e1\n"))), Nothing, ""),
        ("binding of exchanges", then(on(between("amq.\nfanout", "e1\n"))), Nothing, ""),
        (
            "binding of a missing queue",
            then(on(bind("no\npe", "e1"))),
            Channel,
            "404 NOT_FOUND - no queue 'nope' in vhost 'sem'",
        ),
    ]
}
