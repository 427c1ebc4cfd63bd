//! Exclusive queues of processes that were killed.

use amqp_codec::{
    Frame, Method, ReplyCode,
    method::{channel, connection, queue as methods},
};

use super::{RedisServer, Setting, ask, broker, end, holder, refusal};
use crate::tests::{
    peer::Peer,
    steps::{bind, exchange, queue},
};

/// Gives a queue to another holder, as a process leaves it that is killed.
async fn give(server: &RedisServer, name: &str, holder: &str) {
    let declared = serde_json::json!({"owner": {"holder": holder, "link": 1}}).to_string();
    let plain = server.connect().await;
    let _: () = ask(&plain, &["SET", &format!("_amqp.queue.{name}"), &declared]).await;
    let _: () = ask(&plain, &["SADD", "_amqp.exclusive", name]).await;
}

#[tokio::test]
async fn what_a_killed_process_had_is_free_at_once_and_empty() {
    let test = "what_a_killed_process_had_is_free_at_once_and_empty";
    let Some(server) = RedisServer::start(test).await else { return };
    let mut other = Peer::open(&broker(&server)).await;
    other.call(1, exchange("x", "direct")).await;
    for name in ["a", "b", "c"] {
        other.call(1, queue(name)).await;
        other.call(1, bind(name, "x")).await;
    }
    other.publish("x", "", "left").await;
    let (connection, holder) = holder(&server).await;
    for name in ["a", "b", "c"] {
        give(&server, name, &holder).await;
        let (code, _) = refusal(&mut other, queue(name)).await;
        assert_eq!(code, ReplyCode::RESOURCE_LOCKED);
    }
    end(connection, &server).await;
    let own = |name| methods::Declare { exclusive: true, ..queue(name) };
    assert_eq!(other.call(1, own("a")).await.message_count, 0);
    assert_eq!(other.call(1, queue("b")).await.message_count, 0, "for all from now on");
    let gone = refusal(&mut other, methods::Declare { passive: true, ..queue("c") }).await;
    assert!(gone.1.contains("no queue 'c'"), "{gone:?}");
    let plain = server.connect().await;
    assert_eq!(ask::<u32>(&plain, &["EXISTS", "_kombu.binding.x", "a", "b", "c"]).await, 0);
    assert_eq!(ask::<Vec<String>>(&plain, &["SMEMBERS", "_amqp.exclusive"]).await, ["a"]);
}

#[tokio::test]
async fn a_server_that_has_started_again_knows_none_of_the_old_connections() {
    let test = "a_server_that_has_started_again_knows_none_of_the_old_connections";
    let Some(server) = RedisServer::start(test).await else { return };
    let (_connection, holder) = holder(&server).await;
    // Its number is that of a connection that is there.
    let words: Vec<_> = holder.split(' ').collect();
    give(&server, "own", &format!("{} {} {}", words[0], "0".repeat(40), words[2])).await;
    Peer::open(&broker(&server)).await.call(1, queue("own")).await;
}

#[tokio::test]
async fn whoever_lost_redis_has_its_queue_again() {
    let Some(server) = RedisServer::start("whoever_lost_redis_has_its_queue_again").await else { return };
    let (broker, plain) = (broker(&server), server.connect().await);
    let own = methods::Declare { exclusive: true, ..queue("own") };
    let mut owner = Peer::open(&broker).await;
    owner.call(1, own.clone()).await;
    let _: u32 = ask(&plain, &["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]).await;
    owner.expect::<connection::Close>(0).await;
    drop(owner);
    let mut again = Peer::open(&broker).await;
    loop {
        again.send(1, own.clone()).await;
        match again.next().await.unwrap() {
            Frame::Method(1, Method::Queue(methods::Method::DeclareOk(_))) => break,
            Frame::Method(1, Method::Channel(channel::Method::Close(close))) => {
                assert_eq!(ReplyCode(close.reply_code), ReplyCode::RESOURCE_LOCKED);
                again.send(1, channel::CloseOk {}).await;
                again.call(1, channel::Open::default()).await;
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn what_nobody_asks_for_is_deleted_after_a_while() {
    let Some(setting) = Setting::new("what_nobody_asks_for_is_deleted_after_a_while").await else { return };
    let _client = setting.open().await;
    let (connection, holder) = holder(&setting.server).await;
    give(&setting.server, "own", &holder).await;
    let _: () = setting.ask(&["RPUSH", "own", "left"]).await;
    let _: () = setting.ask(&["SADD", "_amqp.exclusive", "never declared"]).await;
    end(connection, &setting.server).await;
    while setting.ask::<u32>(&["EXISTS", "own", "_amqp.exclusive"]).await > 0 {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn several_who_notice_do_it_once_and_one_has_the_queue() {
    let test = "several_who_notice_do_it_once_and_one_has_the_queue";
    let Some(server) = RedisServer::start(test).await else { return };
    for _ in 0..10 {
        let (connection, holder) = holder(&server).await;
        give(&server, "own", &holder).await;
        let mut racers = Vec::new();
        for _ in 0..4 {
            racers.push(Peer::open(&broker(&server)).await);
        }
        end(connection, &server).await;
        for racer in &mut racers {
            racer.send(1, methods::Declare { exclusive: true, ..queue("own") }).await;
        }
        let mut owners = 0;
        for racer in &mut racers {
            owners += usize::from(matches!(
                racer.next().await.unwrap(),
                Frame::Method(1, Method::Queue(methods::Method::DeclareOk(_)))
            ));
        }
        assert_eq!(owners, 1);
        for mut racer in racers {
            racer.call(0, connection::Close::default()).await;
        }
    }
}
