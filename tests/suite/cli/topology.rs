//! `amqp declare`, `bind`, `unbind`, `delete` and `purge`.

use super::{fixture::Broker, on_tcp_brokers};

async fn what_is_declared_and_bound_routes_until_it_is_unbound(broker: Broker) {
    let (queue, exchange, next) = (broker.name("queue"), broker.name("exchange"), broker.name("next"));
    assert_eq!(broker.run(&["declare", "queue", &queue]).await.done(), format!("{queue}\n"));
    broker.run(&["declare", "exchange", &exchange, "--type", "topic"]).await.done();
    broker.run(&["declare", "exchange", &next, "--type", "fanout"]).await.done();
    broker.run(&["bind", &exchange, &queue, "a.*", "b"]).await.done();
    broker.run(&["bind", &exchange, "--exchange", &next, "c"]).await.done();
    broker.run(&["bind", &next, &queue]).await.done();
    let publish = async |key: &str| broker.run(&["pub", "-m", "-e", &exchange, "-r", key, key]).await.code;
    for key in ["a.x", "b", "c"] {
        assert_eq!(publish(key).await, 0, "{key}");
    }
    assert_eq!(publish("d").await, 5);
    broker.run(&["unbind", &exchange, &queue, "a.*", "b"]).await.done();
    broker.run(&["unbind", &exchange, "--exchange", &next, "c"]).await.done();
    for key in ["a.x", "b", "c"] {
        assert_eq!(publish(key).await, 5, "{key}");
    }
    assert_eq!(broker.bodies_of(&queue).await, ["a.x", "b", "c"]);
    for exchange in [&exchange, &next] {
        broker.run(&["delete", "exchange", exchange]).await.done();
    }
    broker.run(&["delete", "queue", &queue]).await.done();
    assert_eq!(broker.run(&["declare", "queue", &queue, "--passive"]).await.code, 1);
}

async fn a_queue_has_the_arguments_that_were_given(broker: Broker) {
    let queue = broker.name("arguments");
    let line = "declare queue NAME --type classic --message-ttl 60000 --expires 600000 --max-length 2 \
                --max-length-bytes 1000 --overflow reject-publish --dead-letter-exchange x \
                --dead-letter-routing-key y --max-priority 5 --single-active-consumer -a x-a=b -a x-n:=1 --json";
    let line: Vec<&str> =
        line.split_whitespace().map(|word| if word == "NAME" { &queue } else { word }).collect();
    let declared = format!("{{\"queue\":{queue:?},\"messages\":0,\"consumers\":0}}\n");
    assert_eq!(broker.run(&line).await.done(), declared);
    // To declare the same is fine, and something else is not.
    assert_eq!(broker.run(&line).await.done(), declared);
    let other: Vec<&str> = line.iter().map(|word| if *word == "5" { "6" } else { word }).collect();
    let refused = broker.run(&other).await;
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.contains("406 PRECONDITION_FAILED") && refused.stderr.contains("x-max-priority"));
    let full = broker.run(&["pub", "-r", &queue, "1", "2", "3"]).await;
    assert_eq!(full.code, 5, "{full:?}");
    broker.run(&["delete", "queue", &queue]).await.done();
}

async fn purging_and_deleting_tell_how_many_there_were(broker: Broker) {
    let queue = broker.queue_with("purged", &["a", "b"]).await;
    let refused = broker.run(&["delete", "queue", &queue, "--if-empty"]).await;
    assert_eq!(refused.code, 1);
    assert_eq!(broker.run(&["purge", &queue]).await.done(), "2\n");
    broker.run(&["pub", "-r", &queue, "c"]).await.done();
    let deleted = broker.run(&["delete", "queue", &queue, "--json"]).await.done();
    assert_eq!(deleted, format!("{{\"queue\":{queue:?},\"messages\":1}}\n"));
    assert_eq!(broker.run(&["delete", "queue", &queue]).await.done(), "0\n");
}

on_tcp_brokers!(
    a_queue_has_the_arguments_that_were_given,
    purging_and_deleting_tell_how_many_there_were,
    what_is_declared_and_bound_routes_until_it_is_unbound,
);
