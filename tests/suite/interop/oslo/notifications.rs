//! Notifications between the two sides.

use std::collections::BTreeSet;

use chrono::{NaiveDate, NaiveDateTime};
use messaging::{
    Context, OnFailure, Transport, TransportOptions,
    notify::{BatchResult, Endpoint, Event, Level, Listener, NotificationResult, Notifier},
    tagged,
};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use uuid::Uuid;

use super::{Meeting, agent::Agent, on_both_brokers, within};

/// The Python process that all tests of notifications share.
fn python() -> &'static Agent {
    Agent::of_notifications("interop::oslo::notifications").unwrap()
}

/// Values that have no form in JSON.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Tagged {
    #[serde(with = "tagged")]
    at: NaiveDateTime,
    #[serde(with = "tagged")]
    day: NaiveDate,
    #[serde(with = "tagged")]
    price: Decimal,
    #[serde(with = "tagged")]
    id: Uuid,
}

fn tagged_payload() -> Tagged {
    let day = NaiveDate::from_ymd_opt(2026, 1, 2).unwrap();
    let (price, id) = (Decimal::new(150, 2), Uuid::from_u128(5));
    Tagged { at: day.and_hms_micro_opt(3, 4, 5, 678).unwrap(), day, price, id }
}

async fn listen(python: &Agent, meeting: &Meeting, name: &str, topics: &[&str], more: Value) {
    let mut command = json!({"do": "listen", "url": meeting.python_url(""), "name": name, "topics": topics});
    command.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    python.ask(command).await.unwrap();
}

async fn heard(python: &Agent, name: &str, count: usize) -> Vec<Value> {
    let heard = python.ask(json!({"do": "heard", "name": name, "count": count})).await.unwrap();
    heard.as_array().unwrap().clone()
}

async fn unlisten(python: &Agent, name: &str) -> Vec<Value> {
    let heard = python.ask(json!({"do": "unlisten", "name": name})).await.unwrap();
    heard.as_array().unwrap().clone()
}

async fn emit(python: &Agent, meeting: &Meeting, topic: &str, driver: &str, events: Value, more: Value) {
    let mut command = json!({
        "do": "emit", "url": meeting.python_url(""), "publisher": "python.host1", "topics": [topic],
        "driver": driver, "events": events,
    });
    command.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    python.ask(command).await.unwrap();
}

fn listener(transport: &Transport, topic: &str) -> (Listener, mpsc::UnboundedReceiver<Event>) {
    let (sender, heard) = mpsc::unbounded_channel();
    let endpoint = Endpoint::new().on_each(&Level::ALL, move |event: Event| {
        let _ = sender.send(event);
        std::future::ready(NotificationResult::Handled)
    });
    (transport.listener(topic).endpoint(endpoint), heard)
}

async fn python_hears_what_we_emitted_before_at_every_level_in_both_envelopes(meeting: Meeting) {
    let (python, topic) = (python(), meeting.name("n"));
    let transport = meeting.transport(TransportOptions::new()).await;
    let context = Context::new().with("user", "alice").with("auth_token", "secret");
    let payload = json!({"n": 1, "text": "é😀\"", "none": null, "list": [1.5, true]});
    for enveloped in [false, true] {
        let messaging = transport.notification_driver(&topic).enveloped(enveloped);
        let notifier = Notifier::new("rust.host1").driver(messaging);
        for level in Level::ALL {
            within(notifier.notify(level, &context, level.name(), &payload)).await.unwrap();
        }
    }
    let plain = Notifier::new("rust.host1").driver(transport.notification_driver(&topic).enveloped(false));
    within(plain.info(&context, "tagged", &tagged_payload())).await.unwrap();

    listen(python, &meeting, &topic, &[&topic], json!({})).await;
    let events = heard(python, &topic, 15).await;
    let mut levels: Vec<_> = events.iter().map(|event| event["level"].as_str().unwrap()).collect();
    levels.sort_unstable();
    let mut expected: Vec<_> =
        Level::ALL.iter().flat_map(|level| [level.name(); 2]).chain(["info"]).collect();
    expected.sort_unstable();
    assert_eq!(levels, expected);
    for event in &events {
        assert_eq!(event["publisher_id"], "rust.host1");
        assert_eq!(event["context"], json!({"user": "alice", "auth_token": null, "client_timeout": null}));
        assert_eq!(event["metadata"]["message_id"].as_str().unwrap().len(), 36);
        assert!(event["metadata"]["timestamp"].as_str().unwrap().starts_with("20"));
        if event["event_type"] == "tagged" {
            assert_eq!(event["payload"]["at"], "datetime.datetime(2026, 1, 2, 3, 4, 5, 678)");
            assert_eq!(event["payload"]["price"], "Decimal('1.50')");
        } else {
            assert_eq!((&event["payload"], &event["event_type"]), (&payload, &event["level"]));
        }
    }
    assert_eq!(unlisten(python, &topic).await.len(), 15);
    within(transport.close()).await.unwrap();
}

async fn we_hear_what_python_emitted_before_at_every_level_in_both_envelopes(meeting: Meeting) {
    let (python, topic) = (python(), meeting.name("n"));
    let payload = json!({"n": 1, "text": "é😀\"", "none": null, "list": [1.5, true]});
    let mut events: Vec<_> =
        Level::ALL.iter().map(|level| json!([level.name(), level.name(), payload])).collect();
    events.push(json!(["warning", "warn", payload]));
    let context = json!({"context": {"user": "alice"}});
    for driver in ["messaging", "messagingv2"] {
        emit(python, &meeting, &topic, driver, json!(events), context.clone()).await;
        emit(python, &meeting, &topic, driver, json!([["info", driver, "tagged"]]), context.clone()).await;
    }
    let transport = meeting.transport(TransportOptions::new()).await;
    let (listener, mut heard) = listener(&transport, &topic);
    let running = within(listener.start()).await.unwrap();
    for _ in 0..2 * (Level::ALL.len() + 2) {
        let event = within(heard.recv()).await.unwrap();
        assert_eq!(event.publisher_id(), "python.host1");
        assert_eq!(event.context().get("user"), Some(&json!("alice")));
        assert_eq!(event.message_id().unwrap().len(), 36);
        match event.event_type() {
            "messaging" => assert_eq!(event.payload::<Tagged>().unwrap(), tagged_payload()),
            "messagingv2" => assert_eq!(
                event.payload::<Value>().unwrap(),
                json!({
                    "at": "2026-01-02T03:04:05.000678", "day": "2026-01-02", "price": "1.50",
                    "id": "00000000-0000-0000-0000-000000000005",
                })
            ),
            event_type => {
                assert_eq!(event.level().name(), event_type);
                assert_eq!(event.payload::<Value>().unwrap(), payload);
            }
        }
    }
    within(running.stop()).await;
    assert!(heard.try_recv().is_err());
    within(transport.close()).await.unwrap();
}

async fn members_of_both_kinds_share_a_pool(meeting: Meeting) {
    let (python, topic) = (python(), meeting.name("n"));
    let pools = ["mixed", "ours", "theirs"].map(|name| meeting.name(name));
    let transport = meeting.transport(TransportOptions::new()).await;
    let (mixed, mut in_mixed) = listener(&transport, &topic);
    let (ours, mut in_ours) = listener(&transport, &topic);
    let mixed = within(mixed.pool(&pools[0]).concurrency(1).start()).await.unwrap();
    let ours = within(ours.pool(&pools[1]).start()).await.unwrap();
    for pool in [&pools[0], &pools[2]] {
        listen(python, &meeting, pool, &[&topic], json!({"pool": pool})).await;
    }
    let notifier = transport.notifier("rust", &topic);
    let mut all = BTreeSet::new();
    for number in 0..20 {
        let (by_us, by_python) = (format!("rust-{number}"), format!("python-{number}"));
        within(notifier.info(&Context::new(), &by_us, &())).await.unwrap();
        emit(python, &meeting, &topic, "messagingv2", json!([["error", by_python, null]]), json!({})).await;
        all.extend([by_us, by_python]);
    }
    let event_types = |events: &[Value]| -> BTreeSet<String> {
        events.iter().map(|event| event["event_type"].as_str().unwrap().to_owned()).collect()
    };
    let theirs = heard(python, &pools[2], 40).await;
    assert_eq!((theirs.len(), event_types(&theirs)), (40, all.clone()));
    let mut by_ours = BTreeSet::new();
    while by_ours.len() < 40 {
        assert!(by_ours.insert(within(in_ours.recv()).await.unwrap().event_type().to_owned()));
    }
    assert_eq!(by_ours, all);
    let mut shared = BTreeSet::new();
    // Python may still be working on its share.
    let mut by_python = 0;
    while shared.len() < 40 {
        let events = heard(python, &pools[0], 1).await;
        by_python = events.len();
        shared.extend(event_types(&events));
        while let Ok(event) = in_mixed.try_recv() {
            assert!(shared.insert(event.event_type().to_owned()), "{event:?} was heard twice");
        }
    }
    assert!(shared == all && (1..40).contains(&by_python), "{by_python}");
    within(mixed.stop()).await;
    within(ours.stop()).await;
    for pool in [&pools[0], &pools[2]] {
        unlisten(python, pool).await;
    }
    within(transport.close()).await.unwrap();
}

async fn what_either_side_requeues_comes_again(meeting: Meeting) {
    let python = python();
    let (topic, other) = (meeting.name("n"), meeting.name("m"));
    let transport = meeting.transport(TransportOptions::new()).await;
    listen(python, &meeting, &topic, &[&topic], json!({"requeues": {"again": 2}})).await;
    let notifier = transport.notifier("rust", &topic);
    for event_type in ["again", "once"] {
        within(notifier.info(&Context::new(), event_type, &())).await.unwrap();
    }
    let mut events = heard(python, &topic, 4).await;
    events.sort_unstable_by_key(|event| event["event_type"].as_str().unwrap().to_owned());
    let event_types: Vec<_> = events.iter().map(|event| event["event_type"].as_str().unwrap()).collect();
    assert_eq!(event_types, ["again", "again", "again", "once"]);
    assert_eq!(unlisten(python, &topic).await.len(), 4);

    let (sender, mut heard) = mpsc::unbounded_channel();
    let running = transport
        .listener(&other)
        .on_failure(OnFailure::Requeue)
        .on(Level::Info, move |event: Event| {
            let requeue = !event.redelivered();
            let _ = sender.send(event);
            async move { if requeue { NotificationResult::Requeue } else { NotificationResult::Handled } }
        })
        .start();
    let running = within(running).await.unwrap();
    emit(python, &meeting, &other, "messaging", json!([["info", "e", 1]]), json!({})).await;
    for redelivered in [false, true] {
        assert_eq!(within(heard.recv()).await.unwrap().redelivered(), redelivered);
    }
    within(running.stop()).await;
    assert!(heard.try_recv().is_err());
    within(transport.close()).await.unwrap();
}

async fn either_side_takes_the_others_events_in_batches(meeting: Meeting) {
    let python = python();
    let (topic, other) = (meeting.name("n"), meeting.name("m"));
    let transport = meeting.transport(TransportOptions::new()).await;
    listen(python, &meeting, &topic, &[&topic], json!({"batch": 10})).await;
    let notifier = transport.notifier("rust", &topic);
    for number in 0..25 {
        within(notifier.sample(&Context::new(), "e", &number)).await.unwrap();
    }
    let mut numbers: Vec<_> =
        heard(python, &topic, 25).await.iter().map(|event| event["payload"].as_u64().unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..25).collect::<Vec<_>>());
    unlisten(python, &topic).await;

    let events: Vec<_> = (0..25).map(|number| json!(["sample", "e", number])).collect();
    emit(python, &meeting, &other, "messagingv2", json!(events), json!({})).await;
    let (sender, mut heard) = mpsc::unbounded_channel();
    let running = transport.batch_listener(&other, 10).on(Level::Sample, move |events: Vec<Event>| {
        let numbers: Vec<_> = events.iter().map(|event| event.payload::<u32>().unwrap()).collect();
        let _ = sender.send(numbers);
        std::future::ready(BatchResult::Handled)
    });
    let running = within(running.start()).await.unwrap();
    let mut numbers = Vec::new();
    while numbers.len() < 25 {
        let batch = within(heard.recv()).await.unwrap();
        assert!(batch.len() <= 10);
        numbers.extend(batch);
    }
    assert_eq!(numbers, (0..25).collect::<Vec<_>>());
    within(running.stop()).await;
    within(transport.close()).await.unwrap();
}

on_both_brokers! {
    python_hears_what_we_emitted_before_at_every_level_in_both_envelopes,
    we_hear_what_python_emitted_before_at_every_level_in_both_envelopes,
    members_of_both_kinds_share_a_pool,
    what_either_side_requeues_comes_again,
    either_side_takes_the_others_events_in_batches,
}
