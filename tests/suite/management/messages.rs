//! Messages: published, looked at and purged.

use amqp_client::{GetOptions, Message};
use serde_json::{Value as Json, json};

use super::{Api, Managed, on_both, within};

/// A queue and what publishes to it and gets from it.
struct Place<'a> {
    api: &'a Api,
    publish: String,
    queue: String,
}

impl<'a> Place<'a> {
    async fn new(broker: &'a Managed, vhost: &str) -> Self {
        let (api, vhost) = (&broker.api, broker.vhost(vhost).await);
        let queue = format!("/api/queues/{vhost}/q");
        api.put(&queue, json!({ "durable": true })).await.is(201);
        Self { api, publish: format!("/api/exchanges/{vhost}/amq.default/publish"), queue }
    }

    async fn publish(&self, payload: &str) {
        self.api.post(&self.publish, message(payload)).await.has(&json!({ "routed": true }));
    }

    async fn get(&self, options: Json) -> super::Answer {
        self.api.post(&format!("{}/get", self.queue), options).await
    }
}

fn message(payload: &str) -> Json {
    json!({ "properties": {}, "routing_key": "q", "payload": payload, "payload_encoding": "string" })
}

/// The message with one member changed.
fn with(name: &str, value: Json) -> Json {
    let mut message = message("x");
    message[name] = value;
    message
}

fn get(count: u32, ackmode: &str) -> Json {
    json!({ "count": count, "ackmode": ackmode, "encoding": "auto" })
}

async fn they_are_taken_or_returned_as_asked(broker: Managed) {
    let place = Place::new(&broker, "management-get").await;
    for payload in ["one", "two", "three"] {
        place.publish(payload).await;
    }
    place.get(get(2, "ack_requeue_true")).await.has(&json!([
        { "payload": "one", "payload_bytes": 3, "payload_encoding": "string", "redelivered": false, "exchange": "",
          "routing_key": "q", "message_count": 2 },
        { "payload": "two", "redelivered": false, "message_count": 1 },
    ]));
    place
        .get(get(1, "reject_requeue_true"))
        .await
        .has(&json!([{ "payload": "one", "redelivered": true, "message_count": 2 }]));
    place.get(get(1, "reject_requeue_false")).await.has(&json!([{ "payload": "one", "redelivered": true }]));
    place.get(get(1, "ack_requeue_false")).await.has(&json!([{ "payload": "two", "redelivered": true }]));
    place
        .get(get(9, "ack_requeue_false"))
        .await
        .has(&json!([{ "payload": "three", "redelivered": false, "message_count": 0 }]));
    place.get(get(9, "ack_requeue_true")).await.has(&json!([]));
    place.get(get(0, "ack_requeue_true")).await.has(&json!([]));
}

async fn bodies_that_are_no_text_come_in_base64(broker: Managed) {
    let place = Place::new(&broker, "management-bodies").await;
    let raw =
        json!({ "properties": {}, "routing_key": "q", "payload": "//79", "payload_encoding": "base64" });
    place.api.post(&place.publish, raw).await.has(&json!({ "routed": true }));
    place
        .get(get(1, "ack_requeue_false"))
        .await
        .has(&json!([{ "payload": "//79", "payload_bytes": 3, "payload_encoding": "base64" }]));
    place.publish("ä€😀\u{0}<b>").await;
    place
        .get(get(1, "ack_requeue_true"))
        .await
        .has(&json!([{ "payload": "ä€😀\u{0}<b>", "payload_bytes": 13, "payload_encoding": "string" }]));
    let as_base64 = json!({ "count": 1, "ackmode": "ack_requeue_true", "encoding": "base64" });
    place
        .get(as_base64)
        .await
        .has(&json!([{ "payload": "w6Tigqzwn5iAADxiPg==", "payload_encoding": "base64" }]));
    // Within a character.
    let cut = json!({ "count": 1, "ackmode": "ack_requeue_true", "encoding": "auto", "truncate": 3 });
    place
        .get(cut)
        .await
        .has(&json!([{ "payload": "w6Ti", "payload_bytes": 13, "payload_encoding": "base64" }]));
    let cut = json!({ "count": 1, "ackmode": "ack_requeue_false", "encoding": "auto", "truncate": 0 });
    place.get(cut).await.has(&json!([{ "payload": "", "payload_bytes": 13 }]));
}

async fn all_properties_pass(broker: Managed) {
    let place = Place::new(&broker, "management-properties").await;
    let properties = json!({
        "delivery_mode": 2, "content_type": "text/plain", "content_encoding": "utf-8", "priority": 3,
        "correlation_id": "c", "reply_to": "r", "expiration": "600000", "message_id": "m",
        "timestamp": 1_700_000_000, "type": "t", "user_id": "guest", "app_id": "a", "cluster_id": "cl",
        "headers": { "s": "x", "i": 5, "b": true, "f": 1.5, "l": [1, "a"], "t": { "k": "v" }, "big": 5_000_000_000_u64 },
    });
    place
        .api
        .post(&place.publish, with("properties", properties.clone()))
        .await
        .has(&json!({ "routed": true }));
    place.get(get(1, "ack_requeue_true")).await.has(&json!([{ "properties": properties }]));
    // Over AMQP too.
    let connection = broker.connect("management-properties").await;
    let channel = within(connection.open_channel()).await.unwrap();
    let delivery = within(channel.get("q", GetOptions::new().no_ack(true))).await.unwrap().unwrap();
    assert_eq!(delivery.body(), &b"x"[..]);
    let publisher = within(channel.publisher()).await.unwrap();
    let confirm = within(publisher.publish(("", "q"), Message::new("plain"))).await.unwrap();
    within(confirm).await.unwrap();
    // As RabbitMQ tells an empty table.
    place.get(get(1, "ack_requeue_false")).await.has(&json!([{ "properties": [], "payload": "plain" }]));
    within(connection.close()).await.unwrap();
}

async fn a_publish_tells_whether_it_was_routed(broker: Managed) {
    let place = Place::new(&broker, "management-routed").await;
    place
        .api
        .post(&place.publish, with("routing_key", json!("nobody")))
        .await
        .has(&json!({ "routed": false }));
    place.publish("x").await;
    let nowhere = "/api/exchanges/management-routed/nowhere/publish";
    let nobody = "/api/exchanges/management-nowhere/amq.default/publish";
    let [nowhere, nobody] =
        [place.api.post(nowhere, message("x")).await, place.api.post(nobody, message("x")).await];
    if broker.is_4 {
        nowhere.refuses(404, "not_found", "exchange_not_found");
        nobody.refuses(404, "not_found", "vhost_not_found");
    } else {
        nowhere.refuses(
            400,
            "bad_request",
            "404 NOT_FOUND - no exchange 'nowhere' in vhost 'management-routed'",
        );
        nobody.refuses(401, "not_authorised", "Access refused");
    }
    place.api.get(&place.publish).await.allows_only("POST");
}

async fn wrong_publishes_are_refused(broker: Managed) {
    let place = Place::new(&broker, "management-wrong-publishes").await;
    let publish = |body: Json| place.api.post(&place.publish, body);
    for missing in ["properties", "routing_key", "payload", "payload_encoding"] {
        let mut message = message("x");
        message.as_object_mut().unwrap().remove(missing);
        publish(message).await.refuses(400, "bad_request", &format!("{{key_missing,{missing}}}"));
    }
    for (name, value, reason) in [
        ("payload", json!(5), "payload_not_string"),
        ("payload_encoding", json!("zzz"), "unsupported_encoding"),
        ("properties", json!({ "delivery_mode": "2" }), "not_int"),
        ("properties", json!({ "expiration": 60_000 }), "not_string"),
        ("properties", json!({ "timestamp": "x" }), "not_int"),
        ("properties", json!({ "content_type": 5 }), "not_string"),
        (
            "properties",
            json!({ "user_id": "other" }),
            "user_id property set to 'other' but authenticated user was 'guest'",
        ),
        ("properties", json!({ "expiration": "zzz" }), "invalid expiration 'zzz'"),
        ("properties", json!({ "headers": { "nothing": null } }), "null_not_allowed"),
    ] {
        publish(with(name, value)).await.refuses(400, "bad_request", reason);
    }
    let base64 =
        json!({ "properties": {}, "routing_key": "q", "payload": "***", "payload_encoding": "base64" });
    publish(base64).await.refuses(400, "bad_request", "not_base64");
    for body in ["nope", "[]", "5"] {
        place.api.call("POST", &place.publish, Some(body.into())).await.refuses(
            400,
            "bad_request",
            "not_json",
        );
    }
    // RabbitMQ fails with 500 here.
    for value in [json!("x"), json!({ "headers": "x" })] {
        let answer = publish(with("properties", value)).await;
        assert!(answer.status == 400 || (broker.is_rabbitmq() && answer.status == 500), "{answer}");
    }
    place.get(get(9, "ack_requeue_true")).await.has(&json!([]));
}

async fn wrong_gets_are_refused(broker: Managed) {
    let place = Place::new(&broker, "management-wrong-gets").await;
    place.publish("x").await;
    for missing in ["count", "ackmode", "encoding"] {
        let mut options = get(1, "ack_requeue_false");
        options.as_object_mut().unwrap().remove(missing);
        place.get(options).await.refuses(400, "bad_request", &format!("{{key_missing,{missing}}}"));
    }
    let with = |name: &str, value: Json| {
        let mut options = get(1, "ack_requeue_false");
        options[name] = value;
        options
    };
    place.get(with("encoding", json!("zzz"))).await.refuses(400, "bad_request", "Unsupported encoding");
    place.get(with("count", json!("x"))).await.refuses(400, "bad_request", "not_integer");
    let unknown = place.get(with("ackmode", json!("zzz"))).await;
    assert!(unknown.status == 400 || (broker.is_rabbitmq() && unknown.status == 500), "{unknown}");
    place.api.call("POST", &format!("{}/get", place.queue), Some("x".into())).await.refuses(
        400,
        "bad_request",
        "not_json",
    );
    let nowhere =
        place.api.post("/api/queues/management-wrong-gets/nowhere/get", get(1, "ack_requeue_true")).await;
    let reason = if broker.is_4 { "queue_not_found" } else { "NOT_FOUND - no queue 'nowhere' in vhost" };
    nowhere.refuses(404, "not_found", reason);
    place.api.get(&format!("{}/get", place.queue)).await.allows_only("POST");
    // A number in a text is a number, and nothing was taken before.
    place.get(with("count", json!("1"))).await.has(&json!([{ "payload": "x", "message_count": 0 }]));
}

async fn a_queue_is_purged(broker: Managed) {
    let place = Place::new(&broker, "management-purged").await;
    let contents = format!("{}/contents", place.queue);
    for _ in 0..3 {
        place.publish("x").await;
    }
    place.api.delete(&contents).await.is(204);
    place.get(get(1, "ack_requeue_true")).await.has(&json!([]));
    place.api.delete("/api/queues/management-purged/nowhere/contents").await.not_found();
    place.api.get(&contents).await.allows_only("DELETE");
    let stream = json!({ "durable": true, "arguments": { "x-queue-type": "stream" } });
    place.api.put("/api/queues/management-purged/stream", stream).await.is(201);
    let contents = "/api/queues/management-purged/stream/contents";
    place.api.delete(contents).await.refuses(400, "bad_request", "not supported by stream queues");
}

async fn what_a_queue_holds_is_counted(broker: Managed) {
    let place = Place::new(&broker, "management-counted").await;
    for _ in 0..3 {
        place.publish("12345").await;
    }
    place.get(get(1, "ack_requeue_false")).await.is(200);
    let counted = |queue: &Json| {
        queue["messages"] == 2 && queue["message_stats"]["publish"] == 3 && queue["message_bytes"] == 10
    };
    let queue = broker.eventually(&place.queue, counted).await;
    queue.has(
        &json!({ "messages_ready": 2, "messages_unacknowledged": 0, "message_stats": { "deliver_get": 1 } }),
    );
    let totals = |overview: &Json| overview["queue_totals"]["messages"].as_u64() >= Some(2);
    broker.eventually("/api/overview", totals).await;
}

on_both!(
    they_are_taken_or_returned_as_asked,
    bodies_that_are_no_text_come_in_base64,
    all_properties_pass,
    a_publish_tells_whether_it_was_routed,
    wrong_publishes_are_refused,
    wrong_gets_are_refused,
    a_queue_is_purged,
    what_a_queue_holds_is_counted,
);
