//! Logins and permissions, and their refusals in RabbitMQ's words.

use amqp_codec::{
    Frame, Method, Secret,
    frame::PROTOCOL_HEADER,
    method::{basic, channel, connection, exchange as exchanges, queue as queues},
};

use crate::{
    broker::{Broker, BrokerBuilder},
    core::rabbitmq::access::Permissions,
    tests::{
        peer::{Peer, short, start_ok},
        steps::{
            Case,
            Closed::{Channel, Nothing},
            bind, consume, exchange, name, on, outcome, publish, queue, script, table, unbind,
        },
    },
};

/// The user `limited` may configure `c-`, write `w-` and read `r-`, and do everything with `all-`.
fn limited() -> BrokerBuilder {
    let permissions = Permissions::new("^(c|all)-", "^(w|all)-", "^(r|all)-").unwrap();
    Broker::builder().user("limited", "x").vhost("sem").vhost("other").permissions(
        "limited",
        "sem",
        permissions,
    )
}

async fn peer(broker: &Broker) -> Peer {
    let mut peer = Peer::silent(broker);
    peer.log_in_as(start_ok("limited", "x"), "sem", 131_072).await;
    peer
}

fn refused(what: &str) -> String {
    format!("403 ACCESS_REFUSED - access to {what} in vhost 'sem' refused for user 'limited'")
}

fn cases() -> Vec<(&'static str, Vec<Frame>, String)> {
    let alternate = table([("alternate-exchange", "nope".into())]);
    let dead_letter = |queue: &str| queues::Declare {
        arguments: table([("x-dead-letter-exchange", "nope".into())]),
        ..crate::tests::steps::queue(queue)
    };
    let plain = amqp_codec::Properties::default();
    vec![
        ("declare a queue", script([on(queue("bad"))]), refused("queue 'bad'")),
        ("declare an exchange", script([on(exchange("bad", "direct"))]), refused("exchange 'bad'")),
        (
            "a reserved name is refused as such for a queue",
            script([on(queue("amq.bad"))]),
            "403 ACCESS_REFUSED - queue name 'amq.bad' contains reserved prefix 'amq.*'".to_owned(),
        ),
        (
            "and for want of permission for an exchange",
            script([on(exchange("amq.bad", "direct"))]),
            refused("exchange 'amq.bad'"),
        ),
        ("a queue of the broker's naming", script([on(queue(""))]), "amq.gen-".to_owned()),
        (
            "an alternate exchange asks to read the exchange",
            script([on(exchanges::Declare { arguments: alternate.clone(), ..exchange("c-e", "direct") })]),
            refused("exchange 'c-e'"),
        ),
        (
            "and to write to the alternate",
            script([on(exchanges::Declare { arguments: alternate, ..exchange("all-e", "direct") })]),
            refused("exchange 'nope'"),
        ),
        (
            "a dead-letter exchange asks to read the queue",
            script([on(dead_letter("c-q"))]),
            refused("queue 'c-q'"),
        ),
        ("and to write to the exchange", script([on(dead_letter("all-q"))]), refused("exchange 'nope'")),
        ("bind asks to write to the queue", script([on(bind("r-q", "r-e"))]), refused("queue 'r-q'")),
        ("and to read the exchange", script([on(bind("w-q", "w-e"))]), refused("exchange 'w-e'")),
        ("unbind asks for the same", script([on(unbind("w-q", "w-e"))]), refused("exchange 'w-e'")),
        (
            "an exchange bound to one asks to write to the destination",
            script([on(exchanges::Bind {
                destination: name("r-e"),
                source: name("r-e"),
                ..Default::default()
            })]),
            refused("exchange 'r-e'"),
        ),
        ("publish", script(publish("r-e", "k", &plain)), refused("exchange 'r-e'")),
        (
            "publish to the default exchange",
            script(publish("", "w-q", &plain)),
            refused("exchange 'amq.default'"),
        ),
        ("consume", script([on(consume("w-q", "t"))]), refused("queue 'w-q'")),
        (
            "get",
            script([on(basic::Get { queue: name("w-q"), ..Default::default() })]),
            refused("queue 'w-q'"),
        ),
        (
            "purge",
            script([on(queues::Purge { queue: name("w-q"), ..Default::default() })]),
            refused("queue 'w-q'"),
        ),
        (
            "delete a queue",
            script([on(queues::Delete { queue: name("w-q"), ..Default::default() })]),
            refused("queue 'w-q'"),
        ),
        (
            "delete an exchange",
            script([on(exchanges::Delete { exchange: name("w-e"), ..Default::default() })]),
            refused("exchange 'w-e'"),
        ),
        (
            "what is missing is told to who may ask",
            script([on(consume("r-q", "t"))]),
            "404 NOT_FOUND - no queue 'r-q' in vhost 'sem'".to_owned(),
        ),
    ]
}

#[tokio::test]
async fn what_is_not_permitted_is_refused_by_name_on_the_channel() {
    for (case, frames, text) in cases() {
        let broker = limited().build();
        let (closed, words) = outcome(peer(&broker).await, &frames).await;
        assert_eq!(closed, Channel, "{case}");
        assert!(words == text || text == "amq.gen-" && words.contains("queue 'amq.gen-"), "{case}: {words}");
    }
}

#[tokio::test]
async fn what_is_permitted_is_done_and_passive_declares_are_free() {
    let plain = amqp_codec::Properties::default();
    let cases: Vec<Case> = vec![(
        "all of it",
        [
            script([
                on(exchange("all-e", "direct")),
                on(queue("all-q")),
                on(bind("all-q", "all-e")),
                on(queues::Declare { passive: true, ..queue("all-q") }),
                on(exchanges::Declare { passive: true, ..exchange("amq.direct", "") }),
                on(consume("all-q", "t")),
            ]),
            script(publish("all-e", "k", &plain)),
            script([on(queues::Delete { queue: name("all-q"), ..Default::default() })]),
        ]
        .concat(),
        Nothing,
        "",
    )];
    for (case, frames, closed, text) in cases {
        let (was_closed, words) = outcome(peer(&limited().build()).await, &frames).await;
        assert_eq!((was_closed, words.as_str()), (closed, text), "{case}");
    }
}

#[tokio::test]
async fn a_permission_is_asked_for_again_after_the_route_was_found_for_another_exchange() {
    let broker = limited().build();
    let mut peer = peer(&broker).await;
    peer.call(1, channel::Open::default()).await;
    peer.call(1, exchange("all-e", "direct")).await;
    peer.publish("all-e", "k", "fine").await;
    assert_eq!(peer.expect_content::<basic::Return>().await.method.reply_code, 312);
    peer.publish("", "k", "not fine").await;
    assert_eq!(peer.expect::<channel::Close>(1).await.reply_code, 403);
}

#[tokio::test]
async fn a_virtual_host_without_permissions_is_not_entered() {
    let mut peer = Peer::silent(&limited().build());
    peer.raw(&PROTOCOL_HEADER).await;
    peer.expect::<connection::Start>(0).await;
    peer.send(0, start_ok("limited", "x")).await;
    peer.expect::<connection::Tune>(0).await;
    peer.send(0, connection::TuneOk { channel_max: 1, frame_max: 4096, heartbeat: 0 }).await;
    peer.send(0, connection::Open { virtual_host: short("other"), ..Default::default() }).await;
    let close = peer.expect::<connection::Close>(0).await;
    assert_eq!(
        (close.reply_code, close.reply_text.to_text().as_ref()),
        (530, "NOT_ALLOWED - access to vhost 'other' refused for user 'limited'")
    );
}

#[tokio::test]
async fn anonymous_is_a_user_only_where_that_was_said() {
    let anonymous = || connection::StartOk {
        mechanism: short("ANONYMOUS"),
        response: Secret::from("anybody"),
        ..start_ok("", "")
    };
    let mut refused = Peer::silent(&limited().build());
    refused.raw(&PROTOCOL_HEADER).await;
    refused.expect::<connection::Start>(0).await;
    refused.send(0, anonymous()).await;
    assert_eq!(refused.expect::<connection::Close>(0).await.reply_code, 503);

    let mut peer = Peer::silent(&limited().anonymous("limited").build());
    peer.log_in_as(anonymous(), "sem", 131_072).await;
    let (closed, words) = outcome(peer, &[on(queue("bad"))]).await;
    assert_eq!((closed, words), (Channel, self::refused("queue 'bad'")));
}

/// The refusal of a login from an address; `None` if it succeeds.
async fn refused_from(builder: BrokerBuilder, address: &str, login: connection::StartOk) -> Option<String> {
    let mut peer = Peer::silent_from(&builder.build(), address);
    peer.raw(&PROTOCOL_HEADER).await;
    peer.expect::<connection::Start>(0).await;
    peer.send(0, login).await;
    match peer.next().await {
        Some(Frame::Method(0, Method::Connection(connection::Method::Tune(_)))) => None,
        Some(Frame::Method(0, Method::Connection(connection::Method::Close(close)))) => {
            Some(format!("{} {}", close.reply_code, close.reply_text))
        }
        other => panic!("neither tune nor close: {other:?}"),
    }
}

#[tokio::test]
async fn guest_logs_in_from_this_machine_only_and_others_from_everywhere() {
    let anonymous = || connection::StartOk { mechanism: short("ANONYMOUS"), ..start_ok("", "") };
    let amqplain = || connection::StartOk {
        mechanism: short("AMQPLAIN"),
        response: crate::tests::peer::amqplain("guest", "guest"),
        ..start_ok("", "")
    };
    let logins =
        [("PLAIN", start_ok("guest", "guest")), ("AMQPLAIN", amqplain()), ("ANONYMOUS", anonymous())];
    let (near, far) =
        (["127.0.0.1:1", "[::1]:1", "[::ffff:127.0.0.1]:1"], ["192.0.2.7:1", "[2001:db8::7]:1"]);
    let broker = || Broker::builder().user("guest", "guest").user("sal", "x").anonymous("guest");
    for (mechanism, login) in logins {
        for address in near {
            assert_eq!(refused_from(broker(), address, login.clone()).await, None, "{mechanism} {address}");
        }
        // As in RabbitMQ, the text is that of a wrong password.
        let text = format!(
            "403 ACCESS_REFUSED - Login was refused using authentication mechanism {mechanism}. For details see the \
             broker logfile."
        );
        for address in far {
            assert_eq!(
                refused_from(broker(), address, login.clone()).await.as_ref(),
                Some(&text),
                "{address}"
            );
            let everywhere = broker().loopback_users([""; 0]);
            assert_eq!(refused_from(everywhere, address, login.clone()).await, None, "{mechanism} {address}");
        }
    }
    assert_eq!(refused_from(broker(), far[0], start_ok("sal", "x")).await, None);
    let others = || broker().loopback_users(["sal"]);
    assert!(refused_from(others(), far[0], start_ok("sal", "x")).await.is_some());
    assert_eq!(refused_from(others(), far[0], start_ok("guest", "guest")).await, None);
    // This connection is inside the process.
    Peer::open(&broker().build()).await;
}

#[tokio::test]
async fn permissions_alone_leave_guest_in() {
    for user in ["guest", "ada"] {
        let broker =
            Broker::builder().permissions(user, "/", Permissions::new("^a", "", "").unwrap()).build();
        let mut peer = Peer::open(&broker).await;
        peer.declare("a").await;
    }
}

#[tokio::test]
async fn a_user_without_a_password_logs_in_by_none() {
    let broker = Broker::builder().user_without_password("ada").build();
    for password in ["", "ada", "guest"] {
        let mut peer = Peer::silent(&broker);
        peer.raw(&PROTOCOL_HEADER).await;
        peer.expect::<connection::Start>(0).await;
        peer.send(0, start_ok("ada", password)).await;
        assert_eq!(peer.expect::<connection::Close>(0).await.reply_code, 403);
    }
    // It counts as a user, so the default user does not exist.
    assert!(
        refused_from(
            Broker::builder().user_without_password("ada"),
            "127.0.0.1:1",
            start_ok("guest", "guest")
        )
        .await
        .is_some()
    );
}
