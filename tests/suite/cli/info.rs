//! `amqp info`.

use amqp_broker::HttpOptions;
use tests::Node;

use super::{fixture::Broker, on_tcp_brokers};

async fn amqp_alone_tells_what_the_broker_is_and_what_queues_have(broker: Broker) {
    let queue = broker.queue_with("counted", &["a", "b"]).await;
    let counts = broker.run(&["info", &queue, "--json"]).await.done();
    assert_eq!(counts, format!("{{\"queue\":{queue:?},\"messages\":2,\"consumers\":0}}\n"));
    let table = broker.run(&["info", &queue]).await.done();
    let mut lines = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    assert_eq!(lines.next().unwrap(), ["QUEUE", "MESSAGES", "CONSUMERS"]);
    assert_eq!(lines.next().unwrap(), [queue.as_str(), "2", "0"]);
    assert_eq!(broker.run(&["info", &broker.name("missing")]).await.code, 1);
    let told = broker.run(&["info", "--json"]).await.done();
    let server: serde_json::Value = serde_json::from_str(told.lines().next().unwrap()).unwrap();
    assert_eq!(server["product"], "RabbitMQ");
    assert!(server["capabilities"].as_array().unwrap().contains(&"basic.nack".into()), "{server}");
}

/// Declares an exchange and a queue bound to it, and asks for them in each form.
async fn topology_is_told(broker: &Broker, management: &str) {
    let (exchange, queue) = (broker.name("exchange"), broker.queue_with("queue", &[]).await);
    broker.run(&["declare", "exchange", &exchange, "--type", "topic"]).await.done();
    broker.run(&["bind", &exchange, &queue, "a.#"]).await.done();
    let info = ["info", "--management", management];
    let table = broker.run(&info).await.done();
    assert!(table.contains("EXCHANGE") && table.contains(&exchange) && table.contains(&queue), "{table}");
    let tree = broker.run(&[&info[..], &["--shown", "tree"]].concat()).await.done();
    assert!(tree.contains(&format!("{exchange} (topic)\n└─ a.# → [{queue}]")), "{tree}");
    let dot = broker.run(&[&info[..], &["--shown", "dot"]].concat()).await.done();
    let edge = format!("\"exchange {exchange}\" -> \"queue {queue}\" [label=\"a.#\"];");
    assert!(dot.starts_with("digraph") && dot.contains(&edge), "{dot}");
    let json = broker.run(&[&info[..], &["--json"]].concat()).await.done();
    let binding = json.lines().find(|line| line.contains("\"routing_key\":\"a.#\"") && line.contains(&queue));
    assert!(binding.is_some(), "{json}");
    broker.run(&["delete", "exchange", &exchange]).await.done();
    broker.run(&["delete", "queue", &queue]).await.done();
}

#[tokio::test]
async fn a_management_api_tells_the_topology() {
    let server = amqp_broker::Broker::builder().build();
    let http = server.listen_http("127.0.0.1:0", HttpOptions::new()).await.unwrap();
    let broker = Broker::on(server.listen("127.0.0.1:0").await.unwrap());
    topology_is_told(&broker, &format!("http://{}", http.local_addr())).await;
    let wrong = format!("http://guest:secret@{}", http.local_addr());
    let refused = broker.run(&["info", "--management", &wrong]).await;
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.contains("401") && !refused.stderr.contains("secret"), "{refused:?}");
}

#[tokio::test]
async fn the_management_api_of_a_rabbitmq_tells_the_topology() {
    let test = "cli::info::the_management_api_of_a_rabbitmq_tells_the_topology";
    let Some(node) = Node::require(test) else { return };
    let Some(ports) = node.http() else { return tests::leave_out(test, "its management plugin is off") };
    let broker = Broker::rabbitmq(test).unwrap();
    topology_is_told(&broker, &format!("http://127.0.0.1:{}", ports.management)).await;
}

on_tcp_brokers!(amqp_alone_tells_what_the_broker_is_and_what_queues_have);
