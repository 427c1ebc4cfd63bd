//! Connections, channels and consumers: told, and closed from outside.

use amqp_client::{ConnectOptions, Connection, ConsumeOptions, Queue};
use serde_json::{Value as Json, json};

use super::{Managed, on_both, segment, within};

/// A connection by which a test knows it.
async fn named(broker: &Managed, vhost: &str, name: &str) -> Connection {
    let uri = format!("amqp://guest:guest@127.0.0.1:{}/{}", broker.port(), segment(vhost));
    within(ConnectOptions::new().name(name).connect(&uri)).await.unwrap()
}

/// Returns the one connection of a virtual host, once its octets are counted.
async fn told(broker: &Managed, vhost: &str) -> Json {
    let path = format!("/api/vhosts/{vhost}/connections");
    let is_told = |list: &Json| {
        let has_name = list[0]["state"] == "running" && list[0]["user_provided_name"].is_string();
        has_name && list[0]["recv_oct"].is_number()
    };
    broker.eventually(&path, is_told).await.json()[0].clone()
}

async fn one_is_told_and_closed(broker: Managed) {
    let (api, vhost) = (&broker.api, broker.vhost("management-connections").await);
    let connection = named(&broker, &vhost, "the name").await;
    let connected = told(&broker, &vhost).await;
    let name = connected["name"].as_str().unwrap();
    let path = format!("/api/connections/{}", segment(name));
    assert!(name.ends_with(&format!("-> 127.0.0.1:{}", broker.port())), "{name}");
    api.get(&path).await.has(&json!({
        "name": name, "vhost": vhost, "user": "guest", "user_provided_name": "the name", "state": "running",
        "protocol": "AMQP 0-9-1", "auth_mechanism": "PLAIN", "ssl": false, "peer_host": "127.0.0.1",
        "host": "127.0.0.1", "port": broker.port(), "type": "network",
        "client_properties": { "connection_name": "the name", "capabilities": { "basic.nack": true } },
    }));
    for member in [
        "channel_max",
        "frame_max",
        "timeout",
        "connected_at",
        "recv_oct",
        "send_oct",
        "peer_port",
        "channels",
    ] {
        assert!(connected[member].is_number(), "{member}: {connected}");
    }
    let all = api.get("/api/connections").await.is(200).column("name");
    assert!(all.contains(&name.to_owned()), "{all:?}");
    let of_guest = api.get("/api/connections/username/guest").await.is(200).column("name");
    assert!(of_guest.contains(&name.to_owned()), "{of_guest:?}");
    api.header("x-reason", "for a test").delete(&path).await.is(204);
    let closed = within(connection.closed()).await.to_string();
    assert!(closed.contains("for a test"), "{closed}");
    broker.eventually(&format!("/api/vhosts/{vhost}/connections"), |list| *list == json!([])).await;
    api.get(&path).await.not_found();
    api.delete(&path).await.not_found();
}

async fn channels_and_consumers_are_told(broker: Managed) {
    let (api, vhost) = (&broker.api, broker.vhost("management-channels").await);
    let connection = named(&broker, &vhost, "channels").await;
    let channel = within(connection.open_channel()).await.unwrap();
    within(channel.declare(Queue::new("q"))).await.unwrap();
    let options = ConsumeOptions::new().tag("the tag").prefetch(7);
    let consumer = within(channel.consume("q", options)).await.unwrap();
    let second = within(connection.open_channel()).await.unwrap();
    let publisher = within(second.publisher()).await.unwrap();
    let list = format!("/api/vhosts/{vhost}/channels");
    let both = |list: &Json| {
        let list = list.as_array().unwrap();
        list.len() == 2
            && list.iter().any(|channel| channel["consumer_count"] == 1)
            && list.iter().any(|channel| channel["confirm"] == true)
    };
    let channels = broker.eventually(&list, both).await.json();
    let first =
        channels.as_array().unwrap().iter().find(|channel| channel["consumer_count"] == 1).unwrap().clone();
    let connected = told(&broker, &vhost).await;
    let number = first["number"].as_u64().unwrap();
    let name = format!("{} ({number})", connected["name"].as_str().unwrap());
    api.get(&format!("/api/channels/{}", segment(&name))).await.has(&json!({
        "name": name, "number": number, "vhost": vhost, "user": "guest", "confirm": false, "transactional": false,
        "consumer_count": 1, "messages_unacknowledged": 0, "messages_unconfirmed": 0, "messages_uncommitted": 0,
        "acks_uncommitted": 0, "state": "running", "connection_details": { "name": connected["name"] },
    }));
    let of_connection = format!("/api/connections/{}/channels", segment(connected["name"].as_str().unwrap()));
    assert_eq!(api.get(&of_connection).await.is(200).column("name").len(), 2);
    let consumers = api.get(&format!("/api/consumers/{vhost}")).await;
    consumers.has(&json!([{
        "consumer_tag": "the tag", "queue": { "name": "q", "vhost": vhost }, "ack_required": true, "exclusive": false,
        "active": true, "activity_status": "up", "prefetch_count": 7, "arguments": {},
        "channel_details": { "name": name, "connection_name": connected["name"], "number": number, "user": "guest" },
    }]));
    let tags = api.get("/api/consumers").await.is(200).column("consumer_tag");
    assert!(tags.contains(&"the tag".to_owned()), "{tags:?}");
    let of_queue =
        |queue: &Json| queue["consumer_details"][0]["consumer_tag"] == "the tag" && queue["consumers"] == 1;
    broker.eventually(&format!("/api/queues/{vhost}/q"), of_queue).await;
    drop((consumer, publisher));
    within(connection.close()).await.unwrap();
    broker.eventually(&format!("/api/consumers/{vhost}"), |list| *list == json!([])).await;
    api.get(&format!("/api/channels/{}", segment(&name))).await.not_found();
}

async fn what_is_not_there_is_not_found(broker: Managed) {
    for path in [
        "/api/connections/nothing",
        "/api/channels/nothing",
        "/api/vhosts/management-nowhere/connections",
        "/api/vhosts/management-nowhere/channels",
        "/api/consumers/management-nowhere",
    ] {
        broker.api.get(path).await.not_found();
    }
    broker.api.delete("/api/connections/nothing").await.not_found();
    broker.api.post("/api/connections/nothing", json!({})).await.allows_only("DELETE");
}

async fn only_its_user_and_administrators_reach_one(broker: Managed) {
    let vhost = broker.vhost("management-reach").await;
    let monitoring = broker.user("management-reach-monitoring", "monitoring").await;
    let management = broker.user("management-reach-management", "management").await;
    broker.permit("management-reach-management", &vhost, [".*"; 3]).await;
    let connection = named(&broker, &vhost, "reach").await;
    let name = told(&broker, &vhost).await["name"].as_str().unwrap().to_owned();
    let path = format!("/api/connections/{}", segment(&name));
    let reason = "User not authorised to access object";
    management.get(&path).await.refuses(401, "not_authorised", reason);
    management.delete(&path).await.refuses(401, "not_authorised", reason);
    let seen = management.get("/api/connections").await.is(200).column("name");
    assert!(!seen.contains(&name), "{seen:?}");
    // Who may watch may not close.
    monitoring.get(&path).await.is(200);
    monitoring.delete(&path).await.refuses(401, "not_authorised", reason);
    within(connection.open_channel()).await.unwrap();
    within(connection.close()).await.unwrap();
    for name in ["management-reach-monitoring", "management-reach-management"] {
        broker.api.delete(&format!("/api/users/{name}")).await.is(204);
    }
}

on_both!(
    one_is_told_and_closed,
    channels_and_consumers_are_told,
    what_is_not_there_is_not_found,
    only_its_user_and_administrators_reach_one,
);
