//! `amqp check`.

use serde_json::Value as Json;
use tokio::net::TcpListener;

use super::{fixture::Broker, on_tcp_brokers};

async fn a_broker_that_answers_is_ok_in_every_form(broker: Broker) {
    let queue = broker.queue_with("check", &["a", "b", "c"]).await;
    let line = ["check", "--roundtrip", "-q", &queue, "-w", "4", "-c", "5"];
    let nagios = broker.run(&line).await.done();
    assert!(nagios.starts_with("AMQP OK - "), "{nagios}");
    for text in ["a message came back", " | connect=0.", " roundtrip=0.", "messages'=3", "consumers'=0\n"] {
        assert!(nagios.contains(text), "{text}: {nagios}");
    }
    let json = broker.run(&[&line[..], &["--form", "json"]].concat()).await.done();
    let json: Json = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["status"], &json["queues"][0]["messages"]), (&"ok".into(), &3.into()));
    assert!(json["roundtrip_seconds"].as_f64().unwrap() > 0.0, "{json}");
    let metrics = broker.run(&[&line[..], &["--form", "prometheus"]].concat()).await.done();
    let sample = format!("\namqp_queue_messages{{queue=\"{queue}\"}} 3\n");
    assert!(metrics.contains(&sample) && metrics.contains("\namqp_up 1\n"), "{metrics}");
    let probe = broker.run(&[&line[..], &["--form", "probe"]].concat()).await.done();
    assert!(probe.contains("has 3 messages and 0 consumers\n"), "{probe}");
    // It is only looked at.
    assert_eq!(broker.bodies_of(&queue).await, ["a", "b", "c"]);
}

async fn limits_of_queues_decide_about_the_exit_code(broker: Broker) {
    let queue = broker.queue_with("limits", &["a", "b", "c"]).await;
    let missing = broker.name("missing");
    let check = |options: &'static [&'static str], queue: &str| {
        let line: Vec<String> =
            ["check", "-q", queue].into_iter().chain(options.iter().copied()).map(str::to_owned).collect();
        let broker = &broker;
        async move {
            let line: Vec<&str> = line.iter().map(String::as_str).collect();
            let ended = broker.run(&line).await;
            (ended.code, ended.stdout)
        }
    };
    let (code, text) = check(&["-w", "3", "-c", "4"], &queue).await;
    assert!(code == 1 && text.starts_with("AMQP WARNING - queue "), "{code} {text}");
    let (code, text) = check(&["-w", "2", "-c", "3"], &queue).await;
    assert!(code == 2 && text.contains("has 3 messages, the limit is 3"), "{code} {text}");
    let (code, text) = check(&["--min-consumers", "1"], &queue).await;
    assert!(code == 2 && text.contains("has 0 consumers, and needs 1"), "{code} {text}");
    let (code, text) = check(&["-w", "2", "--form", "probe"], &queue).await;
    assert!(code == 0 && text.contains("the limit is 2"), "{code} {text}");
    let (code, text) = check(&["-c", "2", "--form", "probe"], &queue).await;
    assert!(code == 1, "{code} {text}");
    let (code, text) = check(&["-c", "2", "--form", "prometheus"], &queue).await;
    assert!(code == 0 && text.contains("\namqp_check_status 2\n"), "{code} {text}");
    let (code, text) = check(&["-q", "also-missing"], &missing).await;
    assert!(code == 2 && text.matches("404 NOT_FOUND").count() == 2, "{code} {text}");
    // The first queue that is missing hides nothing of the next.
    let (code, text) = check(&["-w", "9", "--form", "json", "-q", "also-missing"], &queue).await;
    assert!(code == 2 && text.contains("\"messages\":3"), "{code} {text}");
}

#[tokio::test]
async fn a_broker_that_cannot_be_reached_is_critical() {
    let broker = Broker::embedded().await;
    let line = |form| ["check", "--url", "amqp://guest:secret@127.0.0.1:1", "--form", form];
    for (form, code, text) in [
        ("nagios", 2, "AMQP CRITICAL - cannot connect"),
        ("json", 2, "\"status\":\"critical\""),
        ("probe", 1, "cannot connect"),
        ("prometheus", 0, "\namqp_up 0\n"),
    ] {
        let ended = broker.run(&line(form)).await;
        assert!(ended.code == code && ended.stdout.contains(text), "{ended:?}");
        assert!(!ended.stdout.contains("secret") && ended.stderr.is_empty(), "{ended:?}");
    }
}

#[tokio::test]
async fn a_mute_peer_is_critical_once_the_time_is_over() {
    let broker = Broker::embedded().await;
    let mute = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("amqp://{}", mute.local_addr().unwrap());
    let ended = broker.run(&["check", "--timeout", "1", "--url", &url]).await;
    assert!(ended.code == 2 && ended.stdout.contains("no answer within 1 seconds"), "{ended:?}");
}

#[tokio::test]
async fn what_cannot_be_checked_is_unknown() {
    let broker = Broker::embedded().await;
    for (form, code) in [("nagios", 3), ("json", 3), ("probe", 1), ("prometheus", 0)] {
        let line = ["check", "--password-file", "/no/such/file", "--form", form];
        let ended = broker.run(&line).await;
        assert_eq!(ended.code, code, "{ended:?}");
    }
    assert_eq!(broker.run(&["check", "-w", "1"]).await.code, 2);
    let help = broker.run(&["check", "--help"]).await.done();
    assert!(help.contains("3 the check cannot be made"), "{help}");
}

on_tcp_brokers!(a_broker_that_answers_is_ok_in_every_form, limits_of_queues_decide_about_the_exit_code,);
