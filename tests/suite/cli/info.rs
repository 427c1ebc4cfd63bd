//! `amqp info`.

use std::fs;

use amqp_broker::{HttpOptions, Tls};
use tests::{Authority, Identity, Node};

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
async fn a_management_api_under_tls_is_asked_by_what_its_url_and_the_brokers_say() {
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    let Identity { certificate, key } = authority.server(&["localhost"]);
    let client = authority.client("app").write(folder.path(), "client").unwrap();
    let (ca, other) = (folder.path().join("ca.pem"), folder.path().join("other.pem"));
    fs::write(&ca, authority.pem()).unwrap();
    fs::write(&other, Authority::new().pem()).unwrap();
    let [ca, other, certfile, keyfile] =
        [&ca, &other, &client.0, &client.1].map(|path| path.to_str().unwrap());
    let tls = Tls::from_pem(certificate.as_bytes(), key.as_bytes()).unwrap();
    let demanding = tls.clone().client_authorities(authority.pem().as_bytes()).unwrap();
    let server = amqp_broker::Broker::builder().build();
    let http = server.listen_https("127.0.0.1:0", &tls, HttpOptions::new()).await.unwrap();
    let strict = server.listen_https("127.0.0.1:0", &demanding, HttpOptions::new()).await.unwrap();
    let amqps = server.listen_tls("127.0.0.1:0", &tls).await.unwrap();
    let broker = Broker::on(server.listen("127.0.0.1:0").await.unwrap());
    let (port, strict) = (http.local_addr().port(), strict.local_addr().port());
    let url = format!("https://localhost:{port}");
    topology_is_told(&broker, &format!("{url}?cacertfile={ca}")).await;

    let identity = format!("https://localhost:{strict}/?certfile={certfile}&keyfile={keyfile}");
    let by_address = format!("https://127.0.0.1:{port}");
    let named = format!("{by_address}?server_name_indication=localhost");
    let unverified = format!("{by_address}?verify=verify_none");
    let of_broker = format!("amqps://guest:guest@localhost:{}?cacertfile={ca}", amqps.local_addr().port());
    for (line, why) in [
        (&["--management", &url, "--cacert", ca][..], None),
        (&["--management", &identity, "--cacert", ca], None),
        (&["--management", &named, "--cacert", ca], None),
        (&["--management", &unverified], None),
        // The broker's URL says whom to trust.
        (&["--management", &url, "--url", &of_broker], None),
        (&["--management", &url, "--url", &of_broker, "--cacert", other], Some("its issuer is not among")),
        (&["--management", &url, "--cacert", other], Some("its issuer is not among")),
        (&["--management", &by_address, "--cacert", ca], Some("is not for \"127.0.0.1\" but for")),
        (&["--management", &url, "--cacert", keyfile], Some("holds no certificate in PEM")),
        (&["--management", &url, "--cacert", "/no/such"], Some("cannot read /no/such")),
    ] {
        let ended = broker.run(&[&["info", "--shown", "dot"], line].concat()).await;
        match why {
            None => assert!(ended.done().starts_with("digraph"), "{line:?}"),
            Some(why) => assert!(ended.code == 1 && ended.stderr.contains(why), "{line:?} {ended:?}"),
        }
    }
    let anonymous = format!("https://localhost:{strict}");
    let refused = broker.run(&["info", "--management", &anonymous, "--cacert", ca]).await;
    assert!(
        refused.code == 1 && refused.stderr.contains("the broker refuses the TLS handshake"),
        "{refused:?}"
    );
    let plain = format!("http://localhost:{port}");
    for (line, code) in
        [(["--management", &plain, "--cacert", ca], 2), (["--management", &plain, "--color", "never"], 4)]
    {
        let refused = broker.run(&[&["info"], &line[..]].concat()).await;
        assert_eq!(refused.code, code, "{line:?} {refused:?}");
    }
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
