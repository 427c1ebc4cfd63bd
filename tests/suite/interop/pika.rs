//! pika, the Python client, with the embedded broker.

use std::time::Duration;

use amqp_broker::{Broker, Listener};
use amqp_client::{Channel, Message, Queue, connect};
use tests::Python;
use tokio::time::timeout;

const SCRIPT: &str = include_str!("pika.py");
const DEADLINE: Duration = Duration::from_secs(60);

/// Python with pika, and a broker for it.
struct Pika {
    python: Python,
    listener: Listener,
}

impl Pika {
    async fn start(test: &str) -> Option<Self> {
        let python = Python::require(test)?;
        let listener = Broker::builder().build().listen("127.0.0.1:0").await.unwrap();
        Some(Pika { python, listener })
    }

    fn url(&self) -> String {
        format!("amqp://guest:guest@{}/", self.listener.local_addr())
    }

    async fn run(&self, arguments: &[&str]) {
        let (job, rest) = arguments.split_first().unwrap();
        let url = self.url();
        let mut all = vec![*job, &url];
        all.extend(rest);
        let output = self.python.run(SCRIPT, &all).await.unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "pika, {arguments:?}: {said}");
    }

    async fn channel(&self) -> Channel {
        connect(&self.url()).await.unwrap().open_channel().await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pika_publishes_consumes_and_gets() {
    let Some(pika) = Pika::start("interop::pika::pika_publishes_consumes_and_gets").await else { return };
    pika.run(&["everything"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pika_is_refused_with_code_and_text() {
    let Some(pika) = Pika::start("interop::pika::pika_is_refused_with_code_and_text").await else { return };
    pika.run(&["refusals"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pika_and_our_client_read_each_other() {
    let Some(pika) = Pika::start("interop::pika::pika_and_our_client_read_each_other").await else { return };
    let channel = pika.channel().await;
    let queue = channel.declare(&Queue::new("mixed")).await.unwrap();

    let mut consumer = channel.consume(&queue, Default::default()).await.unwrap();
    pika.run(&["publish", "mixed", "50"]).await;
    for number in 0..50 {
        let delivery = timeout(DEADLINE, consumer.recv()).await.unwrap().unwrap().unwrap();
        assert_eq!(delivery.body(), format!("from pika {number}").as_bytes());
        delivery.ack().await.unwrap();
    }
    consumer.cancel().await.unwrap();

    let publisher = channel.publisher().await.unwrap();
    for number in 0..50 {
        let message = Message::new(format!("from rust {number}"));
        publisher.publish(("", &queue), message).await.unwrap().await.unwrap();
    }
    pika.run(&["consume", "mixed", "50"]).await;
    assert_eq!(channel.declare(Queue::new("mixed").passive(true)).await.unwrap().messages, 0);
}
