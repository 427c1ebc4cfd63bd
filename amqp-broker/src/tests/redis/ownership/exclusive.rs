//! Exclusive queues of connections that are there.

use amqp_codec::{
    Method, ReplyCode,
    method::{basic, queue as methods},
};

use super::{RedisServer, Setting, ask, broker_at, refusal};
use crate::{
    backend::{BackendError, Link, QueueDeclaration, Source},
    tests::{
        peer::{Peer, short},
        steps::{bind, consume, exchange, queue, unbind},
    },
};

/// All that may be done to a queue.
fn acts(name: &str) -> Vec<Method> {
    let taken = queue(name);
    vec![
        taken.clone().into(),
        methods::Declare { exclusive: true, ..taken.clone() }.into(),
        methods::Declare { passive: true, ..taken }.into(),
        methods::Purge { queue: short(name), ..Default::default() }.into(),
        methods::Delete { queue: short(name), ..Default::default() }.into(),
        bind(name, "x").into(),
        unbind(name, "x").into(),
        consume(name, "t").into(),
        basic::Get { queue: short(name), ..Default::default() }.into(),
    ]
}

const LOCKED: &str = "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue 'own' in vhost '/'. It could be \
                      originally declared on another connection or the exclusive property value does not match that \
                      of the original declaration.";

/// Another process is kept away while the owner is there, and no longer.
async fn it_is_its_owners(server: &RedisServer, options: &str) {
    let url = format!("{}{options}", server.url());
    let (here, elsewhere) = (broker_at(&url), broker_at(&url));
    let (mut owner, mut other) = (Peer::open(&here).await, Peer::open(&elsewhere).await);
    let own = methods::Declare { exclusive: true, ..queue("own") };
    other.call(1, exchange("x", "direct")).await;
    owner.call(1, own.clone()).await;
    owner.call(1, own.clone()).await;
    owner.call(1, bind("own", "x")).await;
    for act in acts("own") {
        let shown = format!("{act:?}");
        assert_eq!(
            refusal(&mut other, act).await,
            (ReplyCode::RESOURCE_LOCKED, LOCKED.to_owned()),
            "{shown}"
        );
    }
    // Its owner may not declare it otherwise either, as with RabbitMQ.
    assert_eq!(refusal(&mut owner, queue("own")).await.1, LOCKED);
    owner.publish("x", "", "one").await;
    assert_eq!(owner.bodies("own").await, ["one"]);
    owner.publish("x", "", "two").await;
    owner.call(0, amqp_codec::method::connection::Close::default()).await;
    assert_eq!(other.call(1, own).await.message_count, 0, "a new queue");
    assert_eq!(ask::<u32>(&server.connect().await, &["EXISTS", "_kombu.binding.x"]).await, 0);
}

#[tokio::test]
async fn an_exclusive_queue_is_its_connections_in_all_processes() {
    let test = "an_exclusive_queue_is_its_connections_in_all_processes";
    for options in ["", "?protocol=2", "?global_keyprefix={app}:"] {
        let Some(server) = RedisServer::start(test).await else { return };
        if options.contains("keyprefix") {
            let url = format!("{}{options}", server.url());
            let (mut owner, mut other) =
                (Peer::open(&broker_at(&url)).await, Peer::open(&broker_at(&server.url())).await);
            for peer in [&mut owner, &mut other] {
                peer.call(1, methods::Declare { exclusive: true, ..queue("own") }).await;
            }
            let names: Vec<String> = ask(&server.connect().await, &["KEYS", "{app}:_amqp.queue.*"]).await;
            assert_eq!(names, ["{app}:_amqp.queue.own"]);
        } else {
            it_is_its_owners(&server, options).await;
        }
    }
}

#[tokio::test]
async fn where_connections_cannot_be_looked_at_a_lease_tells_who_is_there() {
    let test = "where_connections_cannot_be_looked_at_a_lease_tells_who_is_there";
    let Some(server) = RedisServer::start(test).await else { return };
    let plain = server.connect().await;
    let _: () =
        ask(&plain, &["ACL", "SETUSER", "blind", "on", ">p", "~*", "&*", "+@all", "-client|list"]).await;
    let url = server.url().replace("redis://", "redis://blind:p@");
    let (mut owner, mut other) = (Peer::open(&broker_at(&url)).await, Peer::open(&broker_at(&url)).await);
    let own = methods::Declare { exclusive: true, ..queue("own") };
    owner.call(1, own.clone()).await;
    let leases: Vec<String> = ask(&plain, &["KEYS", "_amqp.lease.*"]).await;
    assert_eq!(leases.len(), 1);
    assert!((1..=30_000).contains(&ask::<i64>(&plain, &["PTTL", &leases[0]]).await));
    assert_eq!(refusal(&mut other, own.clone()).await.0, ReplyCode::RESOURCE_LOCKED);
    // As if the process had been stopped for longer than the lease lasts.
    let _: () = ask(&plain, &["DEL", &leases[0]]).await;
    other.call(1, own).await;
    let close: amqp_codec::method::connection::Close = owner.expect(0).await;
    assert_eq!(ReplyCode(close.reply_code), ReplyCode::CONNECTION_FORCED);
    assert!(close.reply_text.to_text().contains("the lease of this process in Redis has lapsed"));
}

#[tokio::test]
async fn a_queue_that_exists_is_not_had_alone() {
    let Some(server) = RedisServer::start("a_queue_that_exists_is_not_had_alone").await else { return };
    let (mut one, mut other) =
        (Peer::open(&broker_at(&server.url())).await, Peer::open(&broker_at(&server.url())).await);
    one.call(1, queue("own")).await;
    for peer in [&mut one, &mut other] {
        let (code, text) = refusal(peer, methods::Declare { exclusive: true, ..queue("own") }).await;
        assert_eq!((code, text.as_str()), (ReplyCode::RESOURCE_LOCKED, LOCKED));
    }
}

#[tokio::test]
async fn an_exclusive_queue_is_one_links_of_those_of_a_process() {
    let test = "an_exclusive_queue_is_one_links_of_those_of_a_process";
    let Some(setting) = Setting::new(test).await else { return };
    let (mut one, mut other) = (setting.open().await, setting.open().await);
    let exclusive = QueueDeclaration { exclusive: true, ..super::queue("own", &[]) };
    one.link.declare_queue(&exclusive).await.unwrap();
    assert_eq!(one.link.check_access("own").await, Ok(()));
    for refused in [
        other.link.check_access("own").await,
        other.link.claim(&[Source { queue: "own", no_ack: false, most: 1 }]).await.map(drop),
    ] {
        assert!(matches!(refused, Err(BackendError::Locked(_))), "{refused:?}");
    }
}
