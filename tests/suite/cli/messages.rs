//! `amqp pub` and `amqp get`.

use std::fs;

use super::{fixture::Broker, on_tcp_brokers};

async fn bodies_come_from_arguments_input_lines_and_files_in_their_order(broker: Broker) {
    let queue = broker.queue_with("bodies", &[]).await;
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in [("b", "second\n"), ("a", "first"), (".hidden", "no")] {
        fs::write(folder.path().join(name), text).unwrap();
    }
    let files = folder.path().to_str().unwrap();
    let file = folder.path().join("b");
    broker.run(&["pub", "-r", &queue, "one", "--", "-two"]).await.done();
    broker.run(&["pub", "-r", &queue, "-b", "three"]).await.done();
    broker.run_with_input(&["pub", "-r", &queue], b"all\nof it\n").await.done();
    broker.run_with_input(&["pub", "-r", &queue, "--lines"], b"line 1\n\nline 3").await.done();
    broker.run(&["pub", "-r", &queue, "--dir", files]).await.done();
    broker.run(&["pub", "-r", &queue, "--file", file.to_str().unwrap(), "--count", "2"]).await.done();
    broker.run(&["pub", "-r", &queue, "x", "y", "--count", "2", "--no-confirm"]).await.done();
    let bodies = broker.bodies_of(&queue).await;
    let expected = [
        "one",
        "-two",
        "three",
        "all\nof it\n",
        "line 1",
        "",
        "line 3",
        "first",
        "second\n",
        "second\n",
        "second\n",
        "x",
        "y",
        "x",
        "y",
    ];
    assert_eq!(bodies, expected);
}

async fn templates_are_filled_in_when_they_are_asked_for(broker: Broker) {
    let queue = broker.queue_with("template-2", &[]).await;
    let key = broker.name("template-{{count}}");
    let first = broker.queue_with("template-1", &[]).await;
    broker.run(&["pub", "-T", "-r", &key, "n{{count}} {{random 5}}", "-c", "2"]).await.done();
    broker.run(&["pub", "-r", &queue, "{{count}}"]).await.done();
    let [one] = &broker.bodies_of(&first).await[..] else { panic!("not one message") };
    assert!(one.starts_with("n1 ") && one.len() == 8, "{one}");
    let two = broker.bodies_of(&queue).await;
    assert!(two[0].starts_with("n2 ") && two[1] == "{{count}}", "{two:?}");
    let refused = broker.run(&["pub", "-T", "-r", &queue, "{{nope}}"]).await;
    assert_eq!(refused.code, 2);
    assert!(refused.stderr.contains("no field nope; there are: count, time"), "{refused:?}");
}

async fn properties_arrive(broker: Broker) {
    let queue = broker.queue_with("properties", &[]).await;
    let line = "pub BODY -p -C text/plain -E gzip --priority 7 --correlation-id c -t r --expiration 60000 \
                --message-id m --timestamp 1700000000 --type k --app-id a -H x=1 -H n:=1 -H l:=[true,null]";
    let line: Vec<&str> = line.split_whitespace().chain(["-r", &queue]).collect();
    broker.run(&line).await.done();
    let json = broker.run(&["get", &queue, "--json"]).await.done();
    let message: serde_json::Value = serde_json::from_str(&json).unwrap();
    let expected = serde_json::json!({
        "content_type": "text/plain", "content_encoding": "gzip", "delivery_mode": 2, "priority": 7,
        "correlation_id": "c", "reply_to": "r", "expiration": "60000", "message_id": "m",
        "timestamp": 1_700_000_000, "type": "k", "app_id": "a",
        "headers": {"x": "1", "n": 1, "l": [true, null]},
    });
    assert_eq!(message["properties"], expected);
    assert_eq!(message["routing_key"], queue);
    assert_eq!((&message["body"], &message["redelivered"]), (&"BODY".into(), &false.into()));
}

async fn what_the_broker_does_not_take_is_told_by_the_exit_code(broker: Broker) {
    let queue = broker.queue_with("taken", &[]).await;
    let (nowhere, missing) = (broker.name("nowhere"), broker.name("missing"));
    let returned = broker.run(&["pub", "-m", "-r", &nowhere, "a", "b"]).await;
    assert_eq!(returned.code, 5);
    assert!(
        returned.stderr.contains("did not take message 1: it was returned: 312 NO_ROUTE"),
        "{returned:?}"
    );
    for confirms in [&[][..], &["--no-confirm"]] {
        let line = [&["pub", "-e", &missing, "-r", &queue, "a"], confirms].concat();
        let unknown = broker.run(&line).await;
        assert_eq!(unknown.code, 1);
        assert!(unknown.stderr.contains("404 NOT_FOUND - no exchange"), "{unknown:?}");
    }
    assert!(broker.bodies_of(&queue).await.is_empty());
}

async fn get_takes_looks_rejects_and_tells_an_empty_queue(broker: Broker) {
    let queue = broker.queue_with("get", &["a", "b", "c", "d"]).await;
    assert_eq!(
        broker.run(&["get", &queue, "--then", "requeue", "--count", "0"]).await.done(),
        "a\nb\nc\nd\n"
    );
    assert_eq!(broker.run(&["get", &queue, "--raw"]).await.done(), "a");
    assert_eq!(broker.run(&["get", &queue, "--then", "nack"]).await.done(), "b\n");
    let format = "{{number}} {{remaining}} {{size}} {{body}}\\n";
    let shown = broker.run(&["get", &queue, "--then", "no-ack", "-c", "9", "--format", format]).await.done();
    assert_eq!(shown, "1 1 1 c\n2 0 1 d\n");
    let empty = broker.run(&["get", &queue]).await;
    assert_eq!((empty.code, empty.stdout.as_str(), empty.stderr.as_str()), (3, "", ""));
    let missing = broker.run(&["get", &broker.name("no such queue")]).await;
    assert_eq!(missing.code, 1);
    assert!(missing.stderr.contains("404 NOT_FOUND - no queue"), "{missing:?}");
}

on_tcp_brokers!(
    bodies_come_from_arguments_input_lines_and_files_in_their_order,
    get_takes_looks_rejects_and_tells_an_empty_queue,
    properties_arrive,
    templates_are_filled_in_when_they_are_asked_for,
    what_the_broker_does_not_take_is_told_by_the_exit_code,
);
