//! The drivers of notifiers.

use std::{fmt::Write as _, sync::Arc, time::Duration};

use super::fixture::within;
use crate::log::Log;
use messaging::{
    Context, Error, OsloError, Outcome, Report, RetryPolicy, Transport, TransportOptions,
    notify::{Driver, Emitting, Level, Notification, Notifier, NotifyError, drivers},
};
use serde_json::json;

/// A driver that always fails.
struct Failing;

impl Driver for Failing {
    fn name(&self) -> &str {
        "failing"
    }

    fn notify<'a>(&'a self, _: &'a Notification, _: RetryPolicy) -> Emitting<'a> {
        let failed = NotifyError::Driver { driver: "failing".to_owned(), source: "no paper".into() };
        Box::pin(async { Err(failed.into()) })
    }
}

fn event_types(emitted: &drivers::Test) -> Vec<String> {
    emitted.notifications().iter().map(|notification| notification.event_type().to_owned()).collect()
}

#[tokio::test]
async fn every_driver_gets_a_notification_and_the_caller_the_first_error() {
    let emitted = drivers::Test::new();
    let notifier = Notifier::new("p").driver(Failing).driver(drivers::Noop).driver(emitted.clone());
    let failed = notifier.info(&Context::new(), "e", &1).await.unwrap_err();
    assert!(Report(&failed).to_string().contains("no paper"), "{failed:?}");
    assert_eq!(event_types(&emitted), ["e"]);
    assert!(matches!(
        notifier.info(&Context::new(), "e", &std::collections::BTreeMap::from([((), ())])).await,
        Err(Error::Encode { .. })
    ));
    assert_eq!(event_types(&emitted), ["e"]);
}

#[tokio::test]
async fn a_prepared_notifier_has_another_name_and_the_same_drivers() {
    let emitted = drivers::Test::new();
    let notifier = Notifier::new("one").driver(emitted.clone());
    notifier.audit(&Context::new(), "a", &()).await.unwrap();
    notifier.prepare("two").sample(&Context::new(), "b", &json!({"n": 1})).await.unwrap();
    let [a, b] = &emitted.notifications()[..] else { panic!("{emitted:?}") };
    assert_eq!((a.publisher_id(), a.level()), ("one", Level::Audit));
    assert_eq!((b.publisher_id(), b.level(), b.payload_json()), ("two", Level::Sample, r#"{"n":1}"#));
    assert_ne!(a.message_id(), b.message_id());
    assert_eq!(b.payload::<serde_json::Value>().unwrap(), json!({"n": 1}));
}

#[tokio::test]
async fn secrets_of_a_context_leave_as_null_unless_it_is_asked_for() {
    let emitted = drivers::Test::new();
    let notifier = Notifier::new("p").driver(emitted.clone());
    let context = Context::new().with("user", "alice").with("auth_token", "gAAAA").with("Password", "x");
    for notifier in [notifier.clone(), notifier.redacted(false)] {
        notifier.info(&context, "e", &()).await.unwrap();
    }
    let contexts: Vec<_> = emitted.notifications().iter().map(|n| n.context().clone()).collect();
    let redacted = Context::new()
        .with("user", "alice")
        .with("auth_token", serde_json::Value::Null)
        .with("Password", serde_json::Value::Null);
    assert_eq!(contexts, [redacted, context]);
}

#[tokio::test]
async fn drivers_are_found_by_their_names_and_unknown_ones_are_refused_at_once() {
    let transport = TransportOptions::new().lazy("memory://notify-names").unwrap();
    for name in ["messaging", "messagingv2", "log", "noop", "test"] {
        let driver = drivers::by_name(name, &transport, &["a", "b"]).unwrap();
        assert_eq!(driver.name(), name);
        assert_eq!(Notifier::new("p").driver(driver).is_enabled(), name != "noop");
    }
    for name in ["routing", "kafka", ""] {
        let refused = drivers::by_name(name, &transport, &[]).err().unwrap();
        assert!(
            matches!(refused, Error::Oslo(OsloError::Notify(NotifyError::UnknownDriver(unknown))) if unknown == name)
        );
    }
    assert!(!Notifier::new("p").is_enabled());
}

#[tokio::test]
async fn rules_choose_each_driver_once_and_speak_of_none_that_is_not_there() {
    let yaml = "
one:
  test:
    accepted_events: [compute.*]
    accepted_priorities: [ERROR, warn]
two:
  test:
    accepted_events: ['*.end']
  noop: {}
";
    let rules = drivers::Rules::from_yaml(yaml).unwrap();
    let emitted = drivers::Test::new();
    let noop = || Arc::new(drivers::Noop) as Arc<dyn Driver>;
    let refused = drivers::Routing::new(rules.clone(), [noop()]).err().unwrap();
    assert!(
        matches!(refused, Error::Oslo(OsloError::Notify(NotifyError::UnknownDriver(name))) if name == "test")
    );
    let routing = drivers::Routing::new(rules, [noop(), Arc::new(emitted.clone()) as _]).unwrap();
    let notifier = Notifier::new("p").driver(routing);
    for (level, event_type) in [
        (Level::Error, "compute.start"),
        (Level::Info, "compute.start"),
        (Level::Warn, "compute.end"),
        (Level::Info, "network.end"),
        (Level::Error, "network.start"),
    ] {
        notifier.notify(level, &Context::new(), event_type, &()).await.unwrap();
    }
    assert_eq!(event_types(&emitted), ["compute.start", "compute.end", "network.end"]);
}

#[tokio::test]
async fn the_log_has_every_level_and_no_secret() {
    let (log, _guard) = Log::listen();
    let notifier = Notifier::new("p").driver(drivers::Log);
    let payload = json!({"adminPass": "hunter2", "user": "alice", "note": "--password hunter3"});
    for level in Level::ALL {
        notifier.notify(level, &Context::new(), "login", &payload).await.unwrap();
    }
    let text = log.take();
    let mut priorities = String::new();
    for line in text.lines() {
        assert!(line.contains("messaging::notification") && line.contains("alice"), "{line}");
        let (_, priority) = line.split_once(r#""priority":""#).unwrap();
        write!(priorities, "{} ", priority.split('"').next().unwrap()).unwrap();
    }
    // This subscriber does not take the level debug.
    assert_eq!(priorities, "AUDIT INFO WARN ERROR CRITICAL SAMPLE ");
    assert!(!text.contains("hunter"), "{text}");
}

#[tokio::test]
async fn a_broker_that_is_away_is_an_error_by_the_deadline() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let transport = TransportOptions::new().lazy(&format!("amqp://{nobody}/")).unwrap();
    let impatient = RetryPolicy::default().deadline(Duration::from_millis(200));
    let notifier = transport.notifier("p", "n").retry(impatient);
    let failed = within(notifier.info(&Context::new(), "e", &())).await.unwrap_err();
    let Error::Undelivered(undelivered) = failed else { panic!("{failed}") };
    assert_eq!((undelivered.outcome, undelivered.routing_key.as_str()), (Outcome::NotSent, "n.info"));
    assert!(undelivered.attempts > 1, "{undelivered}");
}

#[tokio::test]
async fn a_queue_that_exists_otherwise_is_an_error_and_no_event_that_is_lost_in_silence() {
    let transport = Transport::connect("memory://notify-conflict").await.unwrap();
    let durable = TransportOptions::new().topology(messaging::Topology::new().durable(true));
    let durable = durable.connect("memory://notify-conflict").await.unwrap();
    within(transport.notifier("p", "n").info(&Context::new(), "e", &())).await.unwrap();
    let failed = within(durable.notifier("p", "n").info(&Context::new(), "e", &())).await.unwrap_err();
    assert!(Report(&failed).to_string().contains("durable"), "{failed:?}");
}
