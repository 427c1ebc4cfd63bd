//! Nodes and callers whose connection is lost, and very many of them.

use std::{collections::BTreeSet, time::Duration};

use amqp_client::{Event, Uri};
use futures_util::StreamExt as _;
use messaging::{
    Backoff, Recovery, Role, Transport, TransportOptions,
    mailbox::{Kind, Mailbox, ReplyError, Request},
};
use serde_json::json;
use tests::{Lingering, Proxy};

use super::{
    Broker, DEADLINE,
    fixture::{answers, mailbox, start, who},
    on_every_broker_and_redis, on_tcp_brokers, within,
};

/// A transport that recovers after short pauses, over a proxy.
async fn proxied(broker: &Broker) -> (Proxy, Transport) {
    let address = Uri::parse(&broker.url).unwrap().address();
    let proxy = Proxy::start(&address).await.unwrap();
    let url = broker.url.replace(&address, &proxy.addr().to_string());
    let backoff = Backoff::new(Duration::from_millis(5), Duration::from_millis(20));
    let options = TransportOptions::new().recovery(Recovery::new().backoff(backoff));
    (proxy, within(options.connect(&url)).await.unwrap())
}

/// Calls until the node answers, as a caller does who hears nothing.
async fn until_answered(mailbox: &Mailbox) {
    within(async {
        loop {
            let call = mailbox.command("who").to(["w1"]).timeout(Duration::from_millis(200)).call();
            let Ok(replies) = call.await else { continue };
            let replies: Vec<_> = replies.filter_map(|reply| async { reply.ok() }).collect().await;
            if let [reply] = replies.as_slice() {
                assert_eq!((reply.node(), reply.answer()), ("w1", &json!("w1")));
                return;
            }
        }
    })
    .await;
}

async fn node_and_caller_go_on_after_their_connection_was_lost(broker: Broker) {
    let (of_node, for_node) = proxied(&broker).await;
    let (of_caller, for_caller) = proxied(&broker).await;
    let node = start(who(&mailbox(&for_node, &broker, Kind::Direct), "w1")).await;
    let mailbox = mailbox(&for_caller, &broker, Kind::Direct);
    until_answered(&mailbox).await;
    for proxies in [&[&of_node][..], &[&of_caller], &[&of_node, &of_caller]] {
        for _ in 0..2 {
            for proxy in proxies {
                proxy.cut();
            }
            until_answered(&mailbox).await;
        }
    }
    within(node.stop()).await;
    for_node.close().await.unwrap();
    for_caller.close().await.unwrap();
}

/// Waits until the transport knows that its consuming connection was lost.
async fn until_lost(events: &mut messaging::ConnectionEvents) {
    within(async {
        loop {
            let event = events.recv().await.unwrap();
            if event.connection == Role::Consume && matches!(event.event, Event::Disconnected(_)) {
                return;
            }
        }
    })
    .await;
}

async fn a_call_waits_until_replies_arrive_again_and_tells_when_some_may_be_lost(broker: Broker) {
    let for_node = broker.transport().await;
    let (of_caller, for_caller) = proxied(&broker).await;
    let silent = |request: Request, (): ()| async move {
        request.withhold_reply();
        Ok::<_, String>(())
    };
    let node = who(&mailbox(&for_node, &broker, Kind::Direct), "w1").handler("silent", silent);
    let node = start(node).await;
    let mailbox = mailbox(&for_caller, &broker, Kind::Direct);
    until_answered(&mailbox).await;
    for _ in 0..3 {
        let mut events = for_caller.events();
        let mut open =
            within(mailbox.command("silent").to(["w1"]).timeout(DEADLINE * 2).call()).await.unwrap();
        of_caller.cut();
        until_lost(&mut events).await;
        let interrupted = within(open.recv()).await.unwrap();
        assert!(matches!(interrupted, Err(ReplyError::Interrupted)), "{interrupted:?}");
        // A call that is made now has its whole time for the connection to come back.
        let call = mailbox.command("who").to(["w1"]).timeout(DEADLINE * 2).call();
        assert_eq!(answers(within(call).await.unwrap()).await.len(), 1);
    }
    within(node.stop()).await;
}

async fn a_node_whose_name_a_lost_connection_keeps_ends_at_a_deadline(broker: Broker) {
    let address = Uri::parse(&broker.url).unwrap().address();
    let proxy = Lingering::start(&address).await.unwrap();
    let url = broker.url.replacen(&address, &proxy.addr().to_string(), 1);
    let options = TransportOptions::new().wait_for_release(Duration::from_millis(300));
    let transport = within(options.connect(&url)).await.unwrap();
    let mut node = start(who(&mailbox(&transport, &broker, Kind::Direct), "w1")).await;
    proxy.vanish();
    let error = within(node.wait()).await.unwrap_err();
    let messaging::Error::ConsumerEnded { source: Some(source), .. } = &error else { panic!("{error:?}") };
    assert!(source.is_taken(), "{error}");
}

async fn a_call_on_a_closed_transport_fails_and_replies_end(broker: Broker) {
    let transport = broker.transport().await;
    let mailbox = mailbox(&transport, &broker, Kind::Direct);
    let long = Duration::from_secs(3600);
    let mut replies = mailbox.command("who").timeout(long).call().await.unwrap();
    transport.close().await.unwrap();
    let item = within(replies.recv()).await.unwrap();
    assert!(matches!(item, Err(messaging::mailbox::ReplyError::Ended)), "{item:?}");
    assert!(within(replies.recv()).await.is_none());
    for own in [false, true] {
        let again = mailbox.command("who").timeout(long).own_reply_queue(own).call();
        assert!(within(again).await.is_err());
    }
    assert!(within(mailbox.command("who").cast()).await.is_err());
    assert!(within(who(&mailbox, "w1").start()).await.is_err());
}

#[tokio::test]
async fn node_and_caller_go_on_after_their_queues_were_deleted() {
    let served = amqp_broker::Broker::builder().build();
    let listener = served.listen("127.0.0.1:0").await.unwrap();
    let transport =
        Transport::connect(&format!("amqp://guest:guest@{}/", listener.local_addr())).await.unwrap();
    let mailbox = transport.mailbox("ns").open();
    let node = start(who(&mailbox, "w1")).await;
    until_answered(&mailbox).await;
    for ending in [".reply.ns.pidbox", "w1.ns.pidbox"] {
        let queues = served.queues("/").into_iter().map(|queue| queue.name);
        let queue = queues.filter(|name| name.ends_with(ending)).collect::<Vec<_>>();
        served.faults().delete_queue("/", &queue[0]).unwrap();
        until_answered(&mailbox).await;
    }
    within(node.stop()).await;
    transport.close().await.unwrap();
}

#[tokio::test]
async fn a_thousand_nodes_answer_one_call() {
    let broker = Broker::memory();
    let mut nodes = Vec::new();
    for part in 0..4 {
        let mailbox = mailbox(&broker.transport().await, &broker, Kind::Fanout);
        for number in 0..250 {
            nodes.push(start(who(&mailbox, &format!("w{part}-{number}"))).await);
        }
    }
    let mailbox = mailbox(&broker.transport().await, &broker, Kind::Fanout);
    let call = || mailbox.command("who").timeout(DEADLINE);
    let answered = answers(call().limit(1000).call().await.unwrap()).await;
    assert_eq!(answered.len(), 1000);
    let names: Vec<_> = nodes.iter().map(|node| node.name().to_owned()).collect();
    let named = answers(call().to(names.clone()).call().await.unwrap()).await;
    assert_eq!(named.into_keys().collect::<BTreeSet<_>>(), names.into_iter().collect());
}

on_every_broker_and_redis! {
    a_call_on_a_closed_transport_fails_and_replies_end,
}

on_tcp_brokers! {
    node_and_caller_go_on_after_their_connection_was_lost,
    a_call_waits_until_replies_arrive_again_and_tells_when_some_may_be_lost,
    a_node_whose_name_a_lost_connection_keeps_ends_at_a_deadline,
}
