//! Filters, routing rules and masks: ours decide as Python's do.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

use amqp_client::Message;
use messaging::{
    Context, Error, RetryPolicy, Transport,
    notify::{Driver, Emitting, Event, Filter, Level, Notification, NotificationResult, Notifier, drivers},
};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::{agent::Agent, within};
use crate::log::Log;

/// Events as Python's filters see them.
fn events() -> Vec<Value> {
    let full = json!({
        "context": {"user": "alice", "roles": "private,admin", "list": ["a"], "n": 1, "none": null},
        "publisher_id": "compute.host1", "event_type": "compute.instance.create.end",
        "metadata": {"message_id": "5fcebaf0-7d46-4aa4-8f7a-1e9546ccf035", "timestamp": "2026-11-20 12:31:19.573817"},
        "payload": {"state": "active", "n": 5, "nested": {"state": "active"}, "text": "a[b]{c}$d\n", "": "empty"},
    });
    let with = |changes: Value| {
        let mut event = full.clone();
        event.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        event
    };
    vec![
        full.clone(),
        with(json!({"publisher_id": "xcompute", "event_type": "Compute"})),
        with(json!({"publisher_id": null, "event_type": null})),
        with(json!({"publisher_id": "", "event_type": ""})),
        with(json!({"publisher_id": "compute.host1\n", "event_type": "compute\nnetwork"})),
        with(json!({"context": {}, "payload": {}})),
        with(json!({"metadata": {"message_id": null, "timestamp": null}})),
        with(
            json!({"context": {"user": "ALICE", "roles": ""}, "payload": {"state": "inactive", "text": "aab"}}),
        ),
        with(json!({"publisher_id": "computeé.😀", "event_type": "a{2}", "payload": {"state": "ÄCTIVE"}})),
    ]
}

/// Arguments of Python's filters.
fn rules() -> Vec<Value> {
    let patterns = [
        "",
        "compute",
        "^compute.*",
        "compute$",
        r"compute\.host1$",
        r"compute\.host1\Z",
        "a|c",
        "(?i)COMPUTE",
        "(?!compute)",
        "(?=.*host)",
        r"(.)(.).*\1",
        "[[c]",
        "[^x]",
        "c.{3}ute",
        "comp{1}ute",
        "a{,3}",
        "a{2}",
        "{",
        "c{a",
        r"\w+\.",
        r"\S+\.\W",
        ".",
        r".\Z",
        "x?compute",
        "(?m)compute$",
        "(?s)compute.n",
        "[c&&x]",
        "[a-cx-z]ompute",
        "(?P<x>c)o",
        "(?:compute|network)",
        r"compute\b",
        ".*é",
        "c(?#comment)ompute",
        r"[\w.]+$",
    ];
    let mut rules = vec![json!({})];
    for pattern in patterns {
        rules.push(json!({"publisher_id": pattern}));
        rules.push(json!({"event_type": pattern}));
    }
    for (key, pattern) in [
        ("user", "alice"),
        ("user", "(?i)ALICE$"),
        ("roles", ".*admin"),
        ("list", ""),
        ("n", ""),
        ("none", ""),
        ("other", ""),
    ] {
        rules.push(json!({"context": {key: pattern}}));
    }
    for (key, pattern) in
        [("message_id", "5f"), ("timestamp", r"2026-\d\d-20 "), ("timestamp", "Aug"), ("other", "")]
    {
        rules.push(json!({"metadata": {key: pattern}}));
    }
    for (key, pattern) in [
        ("state", "^active$"),
        ("state", "active"),
        ("state", "in|act"),
        ("n", ""),
        ("nested", ""),
        ("other", ""),
        ("text", r"a\[b\]\{c\}\$d$"),
        ("text", r"a\[b\]\{c\}\$d\Z"),
        ("text", "a[[]b[]]{c}[$]d"),
        ("", "emp"),
        ("text", r"(a)\1b"),
        ("state", "(?i)äctive"),
    ] {
        rules.push(json!({"payload": {key: pattern}}));
    }
    rules.push(json!({"publisher_id": "compute", "event_type": "compute", "payload": {"state": "active"}}));
    rules.push(json!({"publisher_id": "compute", "context": {"user": "alice", "roles": "nobody"}}));
    rules
}

fn filter(rule: &Value) -> Result<Filter, Error> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let mut filter = Filter::new();
    for (field, value) in rule.as_object().unwrap() {
        filter = match field.as_str() {
            "publisher_id" => filter.publisher_id(&text(value))?,
            "event_type" => filter.event_type(&text(value))?,
            _ => value.as_object().unwrap().iter().try_fold(filter, |filter, (key, value)| {
                match field.as_str() {
                    "context" => filter.context(key, &text(value)),
                    "metadata" => filter.metadata(key, &text(value)),
                    _ => filter.payload(key, &text(value)),
                }
            })?,
        };
    }
    Ok(filter)
}

/// The events as a listener gets them.
async fn received(events: &[Value]) -> Vec<Event> {
    let transport = Transport::connect("memory://notify-rules").await.unwrap();
    let (sender, mut heard) = mpsc::unbounded_channel();
    let listener = transport.listener("n").concurrency(1).on(Level::Info, move |event: Event| {
        let _ = sender.send(event);
        std::future::ready(NotificationResult::Handled)
    });
    let running = within(listener.start()).await.unwrap();
    let stream = amqp_broker::memory("notify-rules").connect();
    let options = amqp_client::ConnectOptions::new();
    let connection = options.connect_stream(stream, &amqp_client::Uri::default()).await.unwrap();
    let channel = connection.open_channel().await.unwrap();
    let mut received = Vec::new();
    for event in events {
        let mut message = json!({
            "priority": "INFO", "publisher_id": event["publisher_id"], "event_type": event["event_type"],
            "message_id": event["metadata"]["message_id"], "timestamp": event["metadata"]["timestamp"],
            "payload": event["payload"],
        });
        for (key, value) in event["context"].as_object().unwrap() {
            message[format!("_context_{key}")] = value.clone();
        }
        let message = Message::new(message.to_string()).content_type("application/json");
        channel.publish(("openstack", "n.info"), &message).await.unwrap();
        received.push(within(heard.recv()).await.unwrap());
    }
    within(running.stop()).await;
    within(transport.close()).await.unwrap();
    received
}

#[tokio::test]
async fn filters_fit_what_pythons_fit() {
    let Some(python) = Agent::of_notifications("interop::oslo::notify_rules::filters_fit_what_pythons_fit")
    else {
        return;
    };
    let (events, rules) = (events(), rules());
    let python = python.ask(json!({"do": "match", "rules": rules, "events": events})).await.unwrap();
    let received = received(&events).await;
    let mut fitting = 0;
    for (rule, expected) in rules.iter().zip(python.as_array().unwrap()) {
        let filter = filter(rule).unwrap_or_else(|error| panic!("{rule}: {error}"));
        for ((event, seen), expected) in events.iter().zip(&received).zip(expected.as_array().unwrap()) {
            assert_eq!(filter.fits(seen), expected.as_bool().unwrap(), "{rule} {event}");
            fitting += usize::from(filter.fits(seen));
        }
    }
    let all = rules.len() * events.len();
    println!("{fitting} of {all} fit");
    assert!(fitting > 50 && fitting < all - 50, "{fitting} of {all}");
}

/// A driver with a name, which notes its notifications.
struct Named(&'static str, Arc<Mutex<Vec<&'static str>>>);

impl Driver for Named {
    fn name(&self) -> &str {
        self.0
    }

    fn notify<'a>(&'a self, _: &'a Notification, _: RetryPolicy) -> Emitting<'a> {
        self.1.lock().unwrap().push(self.0);
        Box::pin(std::future::ready(Ok(())))
    }
}

#[tokio::test]
async fn rules_choose_the_drivers_that_pythons_choose() {
    let Some(python) = Agent::of_notifications("interop::oslo::notify_rules::rules_choose_the_drivers")
    else {
        return;
    };
    let groups = json!({
        "one": {
            "a": {"accepted_events": ["compute.*", "net?ork.[!x]*"], "accepted_priorities": ["WARN", "e*"]},
            "b": {"accepted_priorities": ["[a-d]*"], "comment": ["x"]},
            "c": {},
        },
        "two": {
            "b": {"accepted_events": ["[[]x", "a.[c-a]", "a.[!c-a]", "[]]", "[!]]y", "[a-", "{a,b}", "**.end", "a\\*"]},
            "d": {"accepted_events": []},
        },
    });
    let event_types = [
        "compute.a",
        "compute",
        "network.y",
        "network.x",
        "netork.y",
        "[x",
        "a.b",
        "a.",
        "]",
        "xy",
        "]y",
        "[a-",
        "{a,b}",
        "a",
        "x.end",
        ".end",
        "end",
        "a\\b",
        "a*",
        "a\\",
        "",
    ];
    let priorities = ["info", "warn", "error", "critical", "audit"];
    let events: Vec<_> = event_types
        .iter()
        .flat_map(|event_type| priorities.map(|priority| (*event_type, priority)))
        .collect();
    let chosen = python.ask(json!({"do": "route", "groups": groups, "events": events})).await.unwrap();
    let called = Arc::default();
    let named =
        ["a", "b", "c", "d"].map(|name| Arc::new(Named(name, Arc::clone(&called))) as Arc<dyn Driver>);
    let rules = drivers::Rules::from_json(&groups.to_string()).unwrap();
    let notifier = Notifier::new("p").driver(drivers::Routing::new(rules, named).unwrap());
    for ((event_type, priority), expected) in events.iter().zip(chosen.as_array().unwrap()) {
        let level = priority.parse().unwrap();
        notifier.notify(level, &Context::new(), event_type, &()).await.unwrap();
        let called = std::mem::take(&mut *called.lock().unwrap());
        assert_eq!(json!(called), *expected, "{event_type} {priority}");
    }
    let all: BTreeSet<_> = chosen.as_array().unwrap().iter().map(Value::to_string).collect();
    assert!(all.len() > 2, "{all:?}");
}

#[tokio::test]
async fn the_log_masks_what_python_masks() {
    let Some(python) = Agent::of_notifications("interop::oslo::notify_rules::the_log_masks") else { return };
    let payload = json!({
        "adminPass": "s3cret", "user": "alice", "auth_token": ["s3cret"], "nested": {"new_pass": 5, "deep": [{"SSLkey": "s3cret"}]},
        "secret_uuid": null, "token": {"id": "seen"}, "note": "password=s3cret user=bob", "json": "{'password': 's3cret'}",
        "quoted": "{\"original_password\" : \"s3cret\"}", "line": "mysql --password s3cret --host h", "xml": "<password>s3cret</password>",
        "plain": "nothing to see", "number": 1.5,
    });
    let expected = python.ask(json!({"do": "mask", "payload": payload})).await.unwrap();
    let (log, guard) = Log::listen();
    Notifier::new("p").driver(drivers::Log).info(&Context::new(), "e", &payload).await.unwrap();
    drop(guard);
    let line = log.take();
    let start = line.find('{').unwrap();
    let mut written = serde_json::Deserializer::from_str(&line[start..]).into_iter::<Value>();
    let written = written.next().unwrap().unwrap();
    assert_eq!(written["payload"], expected);
    assert!(!line.contains("s3cret"), "{line}");
}
