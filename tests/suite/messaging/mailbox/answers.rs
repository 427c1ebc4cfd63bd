//! What a node answers, and when it does not.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::SeqCst},
    },
};

use messaging::mailbox::{Arguments, Failure, Handlers, Kind, Mailbox, NodeBuilder, ReplyError, Request};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Broker, DEADLINE,
    fixture::{RawCaller, answers, mailbox, start, who},
    on_every_broker_and_redis, within,
};

#[derive(Deserialize)]
struct Grow {
    n: u32,
}

/// A pool whose methods handle commands.
struct Pool {
    size: AtomicU32,
}

impl Handlers for Pool {
    fn has(&self, method: &str) -> bool {
        assert_ne!(method, "cursed", "nobody may ask");
        method.starts_with("pool_")
    }

    async fn handle(&self, request: Request, arguments: Arguments) -> Result<Value, Failure> {
        match request.method() {
            "pool_grow" => {
                let Grow { n } = arguments.read()?;
                Ok(json!({"ok": self.size.fetch_add(n, SeqCst) + n}))
            }
            "pool_size" => Ok(self.size.load(SeqCst).into()),
            "pool_panic" => panic!("the pool is empty"),
            other => Err(Failure::unknown_method(other)),
        }
    }
}

/// A node that fails in many ways.
fn failing(mailbox: &Mailbox) -> NodeBuilder {
    who(mailbox, "w1")
        .handler("echo", |_: Request, value: Value| async move { Ok::<_, String>(value) })
        .handler("grow", |_: Request, Grow { n }| async move { Ok::<_, String>(n + 1) })
        .handler("fail", |_: Request, (): ()| async { Err::<(), _>("no luck") })
        .handler("typed", |_: Request, (): ()| async {
            "x".parse::<u8>().map_err(|error| std::io::Error::other(error.to_string()))
        })
        .handler("panic", |_: Request, (): ()| async {
            // The type of the result.
            if true {
                panic!("oh {}", "no");
            }
            Ok::<_, String>(())
        })
        .handler("panic_at_once", |_: Request, (): ()| {
            assert_eq!(1, 2, "at once");
            async { Ok::<_, String>(()) }
        })
        .handler("no_json", |_: Request, (): ()| async { Ok::<_, String>(BTreeMap::from([((1, 2), 3)])) })
        .handlers(Pool { size: AtomicU32::new(4) })
}

async fn answer(mailbox: &Mailbox, method: &str, arguments: Value) -> Value {
    let command = mailbox.command(method).arguments(&arguments).unwrap().to(["w1"]);
    answers(command.timeout(DEADLINE).call().await.unwrap())
        .await
        .remove("w1")
        .unwrap_or_else(|| panic!("no answer to {method}"))
}

async fn arguments_are_typed_and_failures_are_answers(broker: Broker) {
    let transport = broker.transport().await;
    let mailbox = mailbox(&transport, &broker, Kind::Direct);
    let node = start(failing(&mailbox)).await;
    let echoed = json!({"text": "é😀\"'\n", "list": [1, -2.5, null, true], "big": u64::MAX, "": {"a": {}}});
    for (method, arguments, expected) in [
        ("echo", echoed.clone(), echoed),
        ("grow", json!({"n": 2}), json!(3)),
        ("pool_grow", json!({"n": 2}), json!({"ok": 6})),
        ("pool_size", json!({}), json!(6)),
        ("fail", json!({}), json!({"error": "no luck"})),
        ("typed", json!({}), json!({"error": "invalid digit found in string"})),
        ("panic", json!({}), json!({"error": "the handler panicked: oh no"})),
        ("pool_panic", json!({}), json!({"error": "the handler panicked: the pool is empty"})),
        ("nosuch", json!({"a": 1}), json!({"error": "KeyError('nosuch')"})),
        ("it's", json!({}), json!({"error": "KeyError(\"it's\")"})),
        ("", json!({}), json!({"error": "KeyError('')"})),
        ("pool_nosuch", json!({}), json!({"error": "KeyError('pool_nosuch')"})),
    ] {
        assert_eq!(answer(&mailbox, method, arguments).await, expected, "{method}");
    }
    for (method, arguments, beginning) in [
        ("grow", json!({}), "TypeError("),
        ("grow", json!({"n": "2"}), "TypeError("),
        ("grow", json!({"n": -1}), "TypeError("),
        ("pool_grow", json!({"m": 1}), "TypeError("),
        ("who", json!({"n": 1}), "TypeError("),
        ("panic_at_once", json!({}), "the handler panicked: "),
        ("cursed", json!({}), "the handler panicked: "),
        ("no_json", json!({}), "key must be a string"),
    ] {
        let failed = answer(&mailbox, method, arguments).await;
        let error = failed["error"].as_str().unwrap_or_else(|| panic!("{method}: {failed}"));
        assert!(error.starts_with(beginning), "{method}: {error}");
    }
    let mut replies = mailbox.command("fail").to(["w1"]).timeout(DEADLINE).call().await.unwrap();
    let reply = within(replies.recv()).await.unwrap().unwrap();
    assert_eq!(reply.error().as_deref(), Some("no luck"));
    let failed = reply.decode::<Value>().unwrap_err();
    assert!(matches!(failed, ReplyError::Failed { node, error } if node == "w1" && error == "no luck"));
    within(node.stop()).await;
    transport.close().await.unwrap();
}

async fn unknown_methods_are_passed_over_in_silence_by_choice(broker: Broker) {
    let transport = broker.transport().await;
    let mailbox = mailbox(&transport, &broker, Kind::Direct);
    let node = start(who(&mailbox, "w1").silent_on_unknown(true)).await;
    let mut caller = RawCaller::start(&broker).await;
    assert_eq!(caller.answers(json!({"method": "nosuch"}), 1).await.len(), 0);
    assert_eq!(caller.answers(json!({"method": "who"}), 1).await, [("w1".into(), json!("w1"))].into());
    within(node.stop()).await;
    transport.close().await.unwrap();
}

async fn a_reply_is_sent_only_where_it_is_asked_for(broker: Broker) {
    let transport = broker.transport().await;
    let mailbox = mailbox(&transport, &broker, Kind::Direct);
    let calls = Arc::new(AtomicU32::new(0));
    let counted = calls.clone();
    let count = move |request: Request, (): ()| {
        let count = counted.fetch_add(1, SeqCst) + 1;
        if request.sender().is_some_and(|sender| sender == "withheld") {
            request.withhold_reply();
        }
        async move { Ok::<_, String>(count) }
    };
    let withheld = |request: Request, (): ()| async move {
        request.withhold_reply();
        Err::<(), _>("nobody hears this")
    };
    let node = start(who(&mailbox, "w1").handler("count", count).handler("withheld", withheld)).await;
    let mut caller = RawCaller::start(&broker).await;
    let foreign = json!({"exchange": "amq.direct", "routing_key": "w1"});
    let nameless = json!({"exchange": "", "routing_key": format!("w1.{}.pidbox", mailbox.namespace())});
    let reply_exchange = format!("reply.{}.pidbox", mailbox.namespace());
    let too_long = json!({"exchange": reply_exchange, "routing_key": "k".repeat(300)});
    let gone = json!({"exchange": reply_exchange, "routing_key": "gone"});
    let unanswered = [json!(null), json!({}), foreign, nameless, too_long, gone];
    for (handled, reply_to) in unanswered.iter().enumerate() {
        let command = json!({"method": "count", "ticket": "t", "reply_to": reply_to});
        let replies = caller.replies(super::fixture::json_message(&command), 1).await;
        assert!(replies.is_empty(), "{reply_to}: {replies:?}");
        assert_eq!(calls.load(SeqCst), handled as u32 + 1, "{reply_to}");
    }
    assert_eq!(caller.answers(json!({"method": "withheld"}), 1).await.len(), 0);
    mailbox.command("count").cast().await.unwrap();
    let counted = unanswered.len() as u64 + 2;
    assert_eq!(caller.answers(json!({"method": "count"}), 1).await, [("w1".into(), json!(counted))].into());
    within(node.stop()).await;
    transport.close().await.unwrap();
}

on_every_broker_and_redis! {
    arguments_are_typed_and_failures_are_answers,
    unknown_methods_are_passed_over_in_silence_by_choice,
    a_reply_is_sent_only_where_it_is_asked_for,
}
