//! Duplicate requests, as they occur when a connection is lost before the broker's confirm.

use amqp_client::{Binding, Channel, ConnectOptions, ConsumeOptions, Consumer, Exchange, Message, Queue};
use messaging::{Target, TransportOptions};
use serde_json::json;

use super::{Meeting, counted, on_both_brokers, serve, within};

/// A copy of everything that is sent to a topic.
struct Spy {
    channel: Channel,
    requests: Consumer,
    topic: String,
}

impl Spy {
    async fn on(meeting: &Meeting, topic: &str) -> Self {
        let url = format!("amqp://guest:guest@{}/", meeting.authority);
        let channel = ConnectOptions::new().connect(&url).await.unwrap().open_channel().await.unwrap();
        channel.declare(&Exchange::topic("openstack")).await.unwrap();
        let queue = channel.declare(&Queue::new("").exclusive(true)).await.unwrap();
        channel.bind(Binding::new(&queue, "openstack").routing_key(topic)).await.unwrap();
        let requests = channel.consume(&queue, ConsumeOptions::new().no_ack(true)).await.unwrap();
        Spy { channel, requests, topic: topic.to_owned() }
    }

    /// Publishes the last request once more.
    async fn repeat(&mut self) {
        let request = within(self.requests.recv()).await.unwrap().unwrap();
        let again = Message::with_properties(request.body().clone(), request.properties().unwrap());
        for _ in 0..2 {
            self.channel.publish(("openstack", &self.topic), &again).await.unwrap();
            within(self.requests.recv()).await.unwrap().unwrap();
        }
    }
}

async fn a_repeated_request_runs_once_on_either_side(meeting: Meeting) {
    let transport = meeting.transport(TransportOptions::new()).await;
    let url = meeting.python_url("");
    for (server, sender) in [("rust", "python"), ("python", "rust"), ("rust", "rust"), ("python", "python")] {
        let topic = meeting.name(&format!("{sender}-{server}"));
        let client = transport.rpc_client(Target::topic(&topic));
        let running = match server {
            "rust" => Some(within(serve(&transport, Target::topic(&topic), "rust")).await),
            _ => {
                meeting.python.serve(&url, &topic, "python").await.unwrap();
                None
            }
        };
        let mut spy = Spy::on(&meeting, &topic).await;
        match sender {
            "rust" => within(client.cast("bump", &())).await.unwrap(),
            _ => drop(meeting.python.send("cast", &url, &topic, "bump", json!({}), json!({})).await.unwrap()),
        }
        spy.repeat().await;
        within(async { while counted(&client).await == 0 {} }).await;
        // The duplicates come before these.
        for _ in 0..5 {
            assert_eq!(counted(&client).await, 1, "{sender} to {server}");
        }
        match running {
            Some(running) => within(running.stop()).await.unwrap(),
            None => meeting.python.stop(&topic, "python").await,
        }
    }
}

on_both_brokers! {
    a_repeated_request_runs_once_on_either_side,
}
