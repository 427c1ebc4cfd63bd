//! Commands and replies between kombu and us.

use std::{collections::BTreeMap, time::Duration};

use futures_util::StreamExt as _;
use messaging::{
    Error, Transport,
    mailbox::{Command, Kind, Mailbox, MailboxError, Matcher, NodeBuilder, ReplyError, Request},
};
use serde_json::{Value, json};
use tests::Python;

use super::{on_redis, python::Kombu, with_every_kombu, within};

const KINDS: [(Kind, &str); 2] = [(Kind::Direct, "direct"), (Kind::Fanout, "fanout")];
const LONG: Duration = Duration::from_secs(50);

/// A mailbox of ours, and kombu's of the same namespace.
async fn peers(url: &str, python: &Python, (kind, name): (Kind, &str)) -> (Mailbox, Kombu) {
    let transport = within(Transport::connect(url)).await.unwrap();
    let namespace = format!("kombu-{}", uuid::Uuid::new_v4());
    let mailbox = transport.mailbox(&namespace).kind(kind).open();
    (mailbox, Kombu::start(python, url, &namespace, name))
}

fn node(mailbox: &Mailbox, name: &str) -> NodeBuilder {
    mailbox
        .node(name)
        .handler("ping", |_: Request, (): ()| async { Ok::<_, String>(json!({"ok": "pong"})) })
        .handler("echo", |_: Request, value: Value| async move { Ok::<_, String>(value) })
        .handler("fail", |_: Request, (): ()| async { Err::<(), _>("no luck") })
}

/// The replies that Python got, by their nodes.
fn by_node(replies: &Value) -> BTreeMap<String, Value> {
    let replies = replies.as_array().unwrap().iter();
    replies.flat_map(|reply| reply.as_object().unwrap().clone()).collect()
}

async fn kombu_calls_our_nodes(url: &str, python: &Python) {
    for kind in KINDS {
        let (mailbox, mut kombu) = peers(url, python, kind).await;
        let nodes = [node(&mailbox, "r1@a"), node(&mailbox, "r2@a"), node(&mailbox, "r3@b")];
        let mut running = Vec::new();
        for node in nodes {
            running.push(within(node.start()).await.unwrap());
        }
        let pong = json!({"ok": "pong"});
        for (command, nodes) in [
            (json!({"destination": ["r1@a"]}), &["r1@a"][..]),
            (json!({"destination": ["r3@b", "r1@a"]}), &["r1@a", "r3@b"]),
            (json!({"limit": 3}), &["r1@a", "r2@a", "r3@b"]),
            (json!({"pattern": "*@a", "matcher": "glob", "limit": 2}), &["r1@a", "r2@a"]),
            (json!({"pattern": "r[13]", "matcher": "pcre", "limit": 2}), &["r1@a", "r3@b"]),
        ] {
            let mut full = command.clone();
            full["method"] = json!("ping");
            full["timeout"] = json!(20);
            let replies = by_node(&kombu.call(full).await);
            let expected = nodes.iter().map(|node| ((*node).to_owned(), pong.clone())).collect();
            assert_eq!(replies, expected, "{command}");
        }
        // Without a limit it waits as long as it may.
        let all = kombu.call(json!({"method": "ping", "timeout": 1})).await;
        assert_eq!(by_node(&all).len(), 3);
        let value = json!({"value": ["é😀", 1.5, null, {"a": [true]}]});
        for (method, arguments, answer) in [
            ("echo", value.clone(), value),
            ("nosuch", json!({}), json!({"error": "KeyError('nosuch')"})),
            ("fail", json!({}), json!({"error": "no luck"})),
        ] {
            let to =
                json!({"method": method, "arguments": arguments, "destination": ["r1@a"], "timeout": 20});
            assert_eq!(by_node(&kombu.call(to).await), [("r1@a".to_owned(), answer)].into());
        }
        let wrong = json!({"method": "ping", "arguments": {"n": 1}, "destination": ["r1@a"], "timeout": 20});
        let failed = by_node(&kombu.call(wrong).await)["r1@a"]["error"].clone();
        assert!(failed.as_str().unwrap().starts_with("TypeError("), "{failed}");
        let before = mailbox.metrics().commands_handled;
        assert_eq!(kombu.call(json!({"method": "ping", "reply": false})).await, Value::Null);
        kombu.call(json!({"method": "ping", "destination": ["r1@a"], "timeout": 20})).await;
        // The last one is handled by one, and the cast by all, though maybe a little later.
        within(async {
            while mailbox.metrics().commands_handled < before + 4 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
        for node in running {
            within(node.stop()).await;
        }
    }
}

async fn replies(command: Command) -> BTreeMap<String, Result<Value, String>> {
    let replies: Vec<_> = within(within(command.timeout(LONG).call()).await.unwrap().collect()).await;
    let answer = |reply: Result<messaging::mailbox::Reply, ReplyError>| {
        let reply = reply.unwrap();
        (reply.node().to_owned(), reply.decode().map_err(|error| error.to_string()))
    };
    replies.into_iter().map(answer).collect()
}

async fn we_call_nodes_of_kombu(url: &str, python: &Python) {
    for kind in KINDS {
        let (mailbox, mut kombu) = peers(url, python, kind).await;
        for name in ["p1@a", "p2@a", "p3@b"] {
            kombu.node(name).await.unwrap();
        }
        let value = json!({"value": {"text": "é😀\"", "list": [1, null, -1.5]}});
        let echo = mailbox.command("echo").arguments(&value).unwrap();
        let echoed = replies(echo.clone().to(["p1@a"])).await;
        assert_eq!(echoed, [("p1@a".into(), Ok(json!({"ok": value["value"]})))].into());
        assert_eq!(replies(echo.clone().limit(3)).await.len(), 3);
        for (matcher, pattern) in [(Matcher::Glob, "*@a"), (Matcher::Pcre, "p[12]")] {
            let fitting = replies(echo.clone().matching(matcher, pattern).unwrap().limit(2)).await;
            assert_eq!(fitting.into_keys().collect::<Vec<_>>(), ["p1@a", "p2@a"]);
        }
        let state = replies(mailbox.command("state").to(["p2@a"])).await;
        assert_eq!(state, [("p2@a".into(), Ok(json!({"seen": 7})))].into());
        let big = replies(mailbox.command("big").to(["p2@a"])).await;
        assert_eq!(big["p2@a"], Ok(json!([2_f64.powi(70), 1.5, null, "é😀"])));
        for (method, arguments, said) in [
            ("nosuch", json!({}), "KeyError('nosuch')"),
            ("fail", json!({}), "ValueError(\"it's no luck\")"),
            ("state", json!({"more": 1}), "TypeError("),
        ] {
            let command = mailbox.command(method).arguments(&arguments).unwrap();
            let failed = replies(command.to(["p3@b"])).await["p3@b"].clone().unwrap_err();
            assert!(failed.contains(said), "{failed}");
        }
        // One that is dead is waited for until the deadline, and no longer.
        let with_dead = echo.to(["p1@a", "p2@a", "p3@b", "dead"]).timeout(Duration::from_secs(2));
        let mut with_dead = within(with_dead.call()).await.unwrap();
        for _ in 0..3 {
            within(with_dead.recv()).await.unwrap().unwrap();
        }
        assert!(within(with_dead.recv()).await.is_none());
        assert_eq!(with_dead.missing().collect::<Vec<_>>(), ["dead"]);
        for name in ["p1@a", "p2@a", "p3@b"] {
            kombu.stop(name).await;
        }
    }
}

async fn a_name_is_one_nodes_on_either_side(url: &str, python: &Python) {
    for is_exclusive in [true, false] {
        let (first, mut kombu) = peers(url, python, KINDS[0]).await;
        let transport = within(Transport::connect(url)).await.unwrap();
        let mailbox = transport.mailbox(first.namespace()).queue_exclusive(is_exclusive).open();
        let ours = within(node(&mailbox, "r1").start()).await.unwrap();
        let refused = kombu.node("r1").await.unwrap_err();
        assert!(
            ["InconsistencyError", "ResourceLocked", "AccessRefused", "PreconditionFailed"]
                .iter()
                .any(|class| refused.starts_with(class)),
            "{refused}"
        );
        let pong = Ok(json!({"ok": "pong"}));
        assert_eq!(replies(mailbox.command("ping").to(["r1"])).await["r1"], pong);
        within(ours.stop()).await;

        kombu.node("p1").await.unwrap();
        let taken = within(node(&mailbox, "p1").start()).await.unwrap_err();
        assert!(
            matches!(&taken, Error::Mailbox(MailboxError::NameTaken { .. })),
            "exclusive {is_exclusive}: {taken:?}"
        );
        let echo = mailbox.command("echo").arguments(&json!({"value": 1})).unwrap();
        for _ in 0..3 {
            assert_eq!(replies(echo.clone().to(["p1"])).await["p1"], Ok(json!({"ok": 1})));
        }
        kombu.stop("p1").await;
    }
}

async fn replies_that_lack_something_are_taken_for_what_they_are(url: &str, python: &Python) {
    let (mailbox, mut kombu) = peers(url, python, KINDS[1]).await;
    kombu.odd_node("no-ticket", "ticket").await;
    kombu.odd_node("no-type", "content type").await;
    let state = || mailbox.command("state").timeout(LONG);
    // Without a content type it is a text, which says nothing.
    let mut replies = within(state().to(["no-type"]).limit(1).call()).await.unwrap();
    let item = within(replies.recv()).await.unwrap();
    assert!(matches!(item, Err(ReplyError::NotAnObject)), "{item:?}");
    assert!(within(replies.recv()).await.is_none());
    let mut replies = within(state().to(["no-ticket"]).own_reply_queue(true).call()).await.unwrap();
    assert_eq!(within(replies.recv()).await.unwrap().unwrap().answer(), &json!({"seen": 7}));
    assert!(within(replies.recv()).await.is_none());
    assert_eq!(mailbox.metrics().replies_without_ticket, 0);
    // On the shared queue it may be of any call.
    let call = state().to(["no-ticket"]).timeout(Duration::from_secs(2)).call();
    let mut replies = within(call).await.unwrap();
    assert!(within(replies.recv()).await.is_none());
    assert_eq!(mailbox.metrics().replies_without_ticket, 1);
    kombu.stop("no-ticket").await;
    kombu.stop("no-type").await;
}

with_every_kombu! {
    kombu_5_7: Python::require => [
        kombu_calls_our_nodes,
        we_call_nodes_of_kombu,
        a_name_is_one_nodes_on_either_side,
        replies_that_lack_something_are_taken_for_what_they_are,
    ];
    kombu_5_6_2: |test| Python::require_kombu(test, "5.6.2") => [
        kombu_calls_our_nodes,
        we_call_nodes_of_kombu,
        a_name_is_one_nodes_on_either_side,
    ];
    kombu_5_3_7: |test| Python::require_kombu(test, "5.3.7") => [
        kombu_calls_our_nodes,
        we_call_nodes_of_kombu,
        a_name_is_one_nodes_on_either_side,
    ];
}

// Not the names of nodes: kombu has no exclusive queues on a Redis.
on_redis![kombu_calls_our_nodes, we_call_nodes_of_kombu];
