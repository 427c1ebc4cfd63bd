//! These tests check what is restored after an orderly end, and after a crash at any moment. A copy
//! of the folder serves as the folder that a crash leaves.

use std::{fs, path::Path};

use amqp_codec::{
    Frame, Method, Properties, Report, Table,
    method::{basic, channel, confirm, connection, exchange, queue, tx},
};
use tempfile::TempDir;

use crate::{
    broker::{Broker, inspection::ConnectionState},
    store::DataError,
    tests::peer::{Peer, short},
};

pub(super) fn open(folder: &Path) -> Broker {
    Broker::builder().vhost("/").vhost("other").data_dir(folder).build().unwrap()
}

/// A copy of the folder: what a broker would find if this one were killed now.
pub(super) fn copy(folder: &Path) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    copy_into(folder, copy.path());
    copy
}

fn copy_into(from: &Path, to: &Path) {
    let mut entries: Vec<_> = fs::read_dir(from).unwrap().map(Result::unwrap).collect();
    // The mark is written last, so it is copied first.
    entries.sort_by_key(|entry| entry.file_name() != "synced");
    for entry in entries {
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            fs::create_dir_all(&to).unwrap();
            copy_into(&entry.path(), &to);
        } else {
            // A file that vanishes meanwhile would not have been there later either.
            let Ok(octets) = fs::read(entry.path()) else { continue };
            // A little of the preallocated part is as good as all of it.
            let is_journal = to.extension().is_some_and(|extension| extension == "jnl");
            let end = if is_journal { octets.len().min(written(&octets) + 5000) } else { octets.len() };
            fs::write(&to, &octets[..end]).unwrap();
        }
    }
}

pub(super) fn persistent() -> Properties {
    Properties { delivery_mode: Some(2), ..Default::default() }
}

pub(super) async fn confirming(broker: &Broker) -> Peer {
    let mut peer = Peer::open(broker).await;
    peer.call(1, confirm::Select::default()).await;
    peer
}

pub(super) async fn declare(peer: &mut Peer, name: &str) {
    peer.call(1, queue::Declare { queue: short(name), durable: true, ..Default::default() }).await;
}

/// Publishes one message, and awaits its confirm.
pub(super) async fn publish(peer: &mut Peer, exchange: &str, key: &str, body: &str) {
    peer.publish_with(exchange, key, persistent(), false, body.as_bytes()).await;
    peer.expect::<basic::Ack>(1).await;
}

async fn bind(peer: &mut Peer, queue: &str, exchange: &str, key: &str) {
    let bind = queue::Bind {
        queue: short(queue),
        exchange: short(exchange),
        routing_key: short(key),
        ..Default::default()
    };
    peer.call(1, bind).await;
}

/// Shuts a broker down; the client answers the close.
pub(super) async fn shut_down(broker: Broker, mut peer: Peer) {
    let ending = tokio::spawn(async move { broker.shutdown().await });
    while let Some(frame) = peer.next().await {
        if let Frame::Method(0, Method::Connection(connection::Method::Close(close))) = frame {
            assert_eq!(close.reply_code, 320);
            peer.send(0, connection::CloseOk {}).await;
            break;
        }
    }
    ending.await.unwrap();
}

/// The ready messages of a queue, and whether each was redelivered; all stay unacknowledged.
async fn got(peer: &mut Peer, name: &str) -> Vec<(String, bool)> {
    let mut got = Vec::new();
    loop {
        peer.send(1, basic::Get { queue: short(name), ..Default::default() }).await;
        match peer.next().await {
            Some(Frame::Method(1, Method::Basic(basic::Method::GetOk(ok)))) => {
                let Some(Frame::Header(1, header)) = peer.next().await else { panic!("no header") };
                let mut body = Vec::new();
                while body.len() < header.body_size as usize {
                    let Some(Frame::Body(1, part)) = peer.next().await else { panic!("no body") };
                    body.extend_from_slice(&part);
                }
                got.push((String::from_utf8(body).unwrap(), ok.redelivered));
            }
            Some(Frame::Method(1, Method::Basic(basic::Method::GetEmpty(_)))) => return got,
            other => panic!("neither get-ok nor get-empty: {other:?}"),
        }
    }
}

fn names(messages: &[(String, bool)]) -> Vec<&str> {
    messages.iter().map(|(body, _)| body.as_str()).collect()
}

#[tokio::test]
async fn what_is_durable_survives_a_clean_end_and_nothing_else_does() {
    let folder = tempfile::tempdir().unwrap();
    let broker = open(folder.path());
    let mut peer = confirming(&broker).await;
    let mut arguments = Table::new();
    arguments.insert("alternate-exchange", "amq.fanout").unwrap();
    let durable = exchange::Declare {
        exchange: short("kept"),
        kind: short("topic"),
        durable: true,
        arguments,
        ..Default::default()
    };
    peer.call(1, durable.clone()).await;
    peer.call(1, exchange::Declare { exchange: short("lost"), durable: false, ..durable }).await;
    declare(&mut peer, "q").await;
    peer.declare("transient").await;
    let own = queue::Declare { queue: short("own"), durable: true, exclusive: true, ..Default::default() };
    peer.call(1, own).await;
    for (queue, exchange) in [("q", "kept"), ("q", "lost"), ("transient", "kept"), ("q", "amq.topic")] {
        bind(&mut peer, queue, exchange, "a.*").await;
    }
    let chained =
        exchange::Bind { source: short("kept"), destination: short("amq.direct"), ..Default::default() };
    peer.call(1, chained).await;
    publish(&mut peer, "kept", "a.b", "first").await;
    publish(&mut peer, "", "q", "second").await;
    peer.publish_with("", "q", Properties::default(), false, b"in memory").await;
    peer.expect::<basic::Ack>(1).await;
    assert_eq!(broker.queue("/", "q").unwrap().ready, 3);
    shut_down(broker, peer).await;

    let broker = open(folder.path());
    let names_of =
        |broker: &Broker| broker.queues("/").iter().map(|queue| queue.name.clone()).collect::<Vec<_>>();
    assert_eq!(names_of(&broker), ["q"]);
    let exchange = broker.exchanges("/").into_iter().find(|exchange| exchange.name == "kept").unwrap();
    assert_eq!((exchange.kind.as_str(), exchange.arguments.iter().count()), ("topic", 1));
    assert!(!broker.exchanges("/").iter().any(|exchange| exchange.name == "lost"));
    let bindings = broker.bindings("/");
    let seen: Vec<_> =
        bindings.iter().map(|binding| (binding.source.as_str(), binding.destination.as_str())).collect();
    assert_eq!(seen, [("amq.topic", "q"), ("kept", "amq.direct"), ("kept", "q")]);
    assert!(broker.queues("other").is_empty());
    let mut peer = confirming(&broker).await;
    // A repeated declaration is equivalent, and the queue works.
    declare(&mut peer, "q").await;
    publish(&mut peer, "kept", "a.c", "third").await;
    let messages = got(&mut peer, "q").await;
    assert_eq!(names(&messages), ["first", "second", "third"]);
    assert!(messages.iter().all(|(_, redelivered)| !redelivered), "{messages:?}");
}

#[tokio::test]
async fn after_a_clean_end_only_what_was_delivered_is_redelivered_and_what_was_acked_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let broker = open(folder.path());
    let mut peer = confirming(&broker).await;
    declare(&mut peer, "q").await;
    for body in ["acked", "rejected", "delivered", "ready"] {
        publish(&mut peer, "", "q", body).await;
    }
    peer.call(1, basic::Qos { prefetch_count: 3, ..Default::default() }).await;
    peer.consume("q", "t").await;
    for _ in 0..3 {
        peer.delivery().await;
    }
    peer.call(1, basic::Cancel { consumer_tag: short("t"), no_wait: false }).await;
    peer.send(1, basic::Ack { delivery_tag: 1, multiple: false }).await;
    peer.send(1, basic::Reject { delivery_tag: 2, requeue: false }).await;
    peer.settle_down().await;
    shut_down(broker, peer).await;
    let mut peer = Peer::open(&open(folder.path())).await;
    let messages = got(&mut peer, "q").await;
    assert_eq!(messages, [("delivered".to_owned(), true), ("ready".to_owned(), false)]);
}

#[tokio::test]
async fn what_is_confirmed_or_answered_is_on_disk_at_that_moment() {
    let folder = tempfile::tempdir().unwrap();
    let broker = open(folder.path());
    let mut peer = confirming(&broker).await;
    declare(&mut peer, "q").await;
    assert!(open(copy(folder.path()).path()).queue("/", "q").is_some());
    for number in 1..=5 {
        publish(&mut peer, "", "q", &number.to_string()).await;
        let copy = copy(folder.path());
        let restored = open(copy.path());
        let mut other = Peer::open(&restored).await;
        let messages = got(&mut other, "q").await;
        assert_eq!(messages.len(), number);
        // After a crash it is unknown which were delivered.
        assert!(messages.iter().all(|(_, redelivered)| *redelivered));
    }
    bind(&mut peer, "q", "amq.topic", "#").await;
    assert_eq!(open(copy(folder.path()).path()).bindings("/").len(), 1);
    peer.call(1, queue::Delete { queue: short("q"), ..Default::default() }).await;
    let restored = open(copy(folder.path()).path());
    assert!(restored.queues("/").is_empty() && restored.bindings("/").is_empty());
}

#[tokio::test]
async fn nothing_is_confirmed_or_answered_before_it_is_on_disk_but_what_does_not_survive_is() {
    let folder = tempfile::tempdir().unwrap();
    let broker = open(folder.path());
    let mut peer = confirming(&broker).await;
    declare(&mut peer, "q").await;
    peer.call(2, channel::Open::default()).await;
    peer.call(2, confirm::Select::default()).await;
    peer.call(2, queue::Declare { queue: short("transient"), ..Default::default() }).await;
    peer.call(3, channel::Open::default()).await;
    peer.call(3, tx::Select {}).await;
    let host = broker.inner.host("/").unwrap();
    host.pause_disk(true);
    peer.publish_with("", "q", persistent(), false, b"1").await;
    peer.publish_with("", "q", persistent(), false, b"2").await;
    peer.send(2, queue::Declare { queue: short("later"), durable: true, ..Default::default() }).await;
    for frame in crate::tests::steps::publish("", "q", &persistent()) {
        let on_three = match frame {
            Frame::Method(_, method) => Frame::Method(3, method),
            Frame::Header(_, header) => Frame::Header(3, header),
            Frame::Body(_, body) => Frame::Body(3, body),
            other => other,
        };
        peer.frame(&on_three).await;
    }
    peer.send(3, tx::Commit {}).await;
    // Another channel gets its answers at once, and these had not come before.
    peer.call(4, channel::Open::default()).await;
    peer.call(4, queue::Declare { queue: short("transient"), ..Default::default() }).await;
    assert_eq!(broker.queue("/", "q").unwrap().ready, 3);
    host.pause_disk(false);
    let mut answers = Vec::new();
    while answers.len() < 3 || !answers.contains(&(1, "basic.ack 2".to_owned())) {
        let Some(Frame::Method(number, method)) = peer.next().await else { panic!("no answer") };
        let tag = match &method {
            Method::Basic(basic::Method::Ack(ack)) => format!(" {}", ack.delivery_tag),
            _ => String::new(),
        };
        answers.push((number, format!("{}{tag}", method.id().name().unwrap())));
    }
    assert!(answers.contains(&(2, "queue.declare-ok".to_owned())), "{answers:?}");
    assert!(answers.contains(&(3, "tx.commit-ok".to_owned())), "{answers:?}");
}

#[tokio::test]
async fn what_is_unbound_or_deleted_is_answered_when_that_is_on_disk() {
    let folder = tempfile::tempdir().unwrap();
    let broker = open(folder.path());
    let mut peer = Peer::open(&broker).await;
    for name in ["source", "destination", "deleted"] {
        let (exchange, kind, durable) = (short(name), short("fanout"), true);
        peer.call(1, exchange::Declare { exchange, kind, durable, ..Default::default() }).await;
    }
    for name in ["bound", "deleted"] {
        declare(&mut peer, name).await;
    }
    let (queue, exchange, source, destination) =
        (short("bound"), short("source"), short("source"), short("destination"));
    let to_queue = queue::Bind { queue: queue.clone(), exchange: exchange.clone(), ..Default::default() };
    peer.call(1, to_queue).await;
    let to_exchange =
        exchange::Bind { source: source.clone(), destination: destination.clone(), ..Default::default() };
    peer.call(1, to_exchange).await;
    for number in 2..=5 {
        peer.call(number, channel::Open::default()).await;
    }
    let host = broker.inner.host("/").unwrap();
    host.pause_disk(true);
    peer.send(1, queue::Unbind { queue, exchange, ..Default::default() }).await;
    peer.send(2, exchange::Unbind { source, destination, ..Default::default() }).await;
    peer.send(3, queue::Delete { queue: short("deleted"), ..Default::default() }).await;
    peer.send(4, exchange::Delete { exchange: short("deleted"), ..Default::default() }).await;
    peer.send(5, queue::Declare { queue: short("transient"), ..Default::default() }).await;
    let mut answered = Vec::new();
    while answered.len() < 5 {
        let Some(Frame::Method(number, _)) = peer.next().await else { panic!("no answer") };
        answered.push(number);
        if number == 5 {
            host.pause_disk(false);
        }
    }
    assert_eq!(answered[0], 5, "{answered:?}");
    answered.sort_unstable();
    assert_eq!(answered, [1, 2, 3, 4, 5]);
}

#[tokio::test]
async fn when_the_disk_fails_what_waits_is_nacked_and_everybody_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let broker = open(folder.path());
    let mut peer = confirming(&broker).await;
    declare(&mut peer, "q").await;
    let mut idle = Peer::greet(&broker, "other", 131_072).await;
    broker.inner.host("/").unwrap().fail_disk();
    peer.publish_with("", "q", persistent(), false, b"lost").await;
    assert_eq!(peer.expect::<basic::Nack>(1).await.delivery_tag, 1);
    for peer in [&mut peer, &mut idle] {
        let close = peer.expect::<connection::Close>(0).await;
        assert_eq!(
            (close.reply_code, close.reply_text.to_text().as_ref()),
            (541, "INTERNAL_ERROR - the disk failed")
        );
        peer.send(0, connection::CloseOk {}).await;
        assert_eq!(peer.next().await, None);
    }
    assert_eq!(Peer::silent(&broker).rest().await, b"");
    let expected = format!("cannot write to {}: a test ordered it", folder.path().display());
    assert_eq!(Report(&broker.failed().await).to_string(), expected);
    assert_eq!(Report(&broker.listen("127.0.0.1:0").await.unwrap_err()).to_string(), expected);
    broker.shutdown().await;
    assert_eq!(open(folder.path()).queue("/", "q").unwrap().ready, 0);
}

#[tokio::test]
async fn publishers_wait_where_the_disk_cannot_follow_and_are_not_told() {
    const COUNT: u64 = 72;
    let folder = tempfile::tempdir().unwrap();
    let broker = open(folder.path());
    let mut peer = confirming(&broker).await;
    declare(&mut peer, "q").await;
    let host = broker.inner.host("/").unwrap();
    host.pause_disk(true);
    let publishing = tokio::spawn(async move {
        let body = vec![0; 1 << 20];
        for _ in 0..COUNT {
            peer.publish_with("", "q", persistent(), false, &body).await;
        }
        let mut confirmed = 0;
        while confirmed < COUNT {
            confirmed = peer.expect::<basic::Ack>(1).await.delivery_tag;
        }
    });
    while broker.connections()[0].state != ConnectionState::Blocked {
        tokio::task::yield_now().await;
    }
    let held = broker.queue("/", "q").unwrap().ready as u64;
    assert!((60..COUNT).contains(&held), "{held}");
    Peer::open(&broker).await.settle_down().await;
    host.pause_disk(false);
    publishing.await.unwrap();
    assert_eq!(broker.queue("/", "q").unwrap().ready as u64, COUNT);
}

#[tokio::test]
async fn a_commit_is_answered_when_all_of_it_is_on_disk() {
    let folder = tempfile::tempdir().unwrap();
    let broker = open(folder.path());
    let mut peer = Peer::open(&broker).await;
    declare(&mut peer, "q").await;
    peer.call(1, tx::Select {}).await;
    for body in ["1", "2"] {
        peer.publish_with("", "q", persistent(), false, body.as_bytes()).await;
    }
    peer.call(1, tx::Commit {}).await;
    assert_eq!(open(copy(folder.path()).path()).queue("/", "q").unwrap().ready, 2);
}

#[tokio::test]
async fn what_left_a_queue_in_any_way_stays_away() {
    let folder = tempfile::tempdir().unwrap();
    let broker = open(folder.path());
    let mut peer = confirming(&broker).await;
    let mut arguments = Table::new();
    arguments.insert("x-max-length", 1).unwrap();
    arguments.insert("x-dead-letter-exchange", "").unwrap();
    arguments.insert("x-dead-letter-routing-key", "dead").unwrap();
    let short_queue =
        queue::Declare { queue: short("short"), durable: true, arguments, ..Default::default() };
    peer.call(1, short_queue).await;
    for name in ["dead", "purged", "got", "no-ack", "expired"] {
        declare(&mut peer, name).await;
    }
    publish(&mut peer, "", "short", "pushed out").await;
    publish(&mut peer, "", "short", "stays").await;
    for name in ["purged", "got", "no-ack"] {
        publish(&mut peer, "", name, "gone").await;
    }
    let expiring = Properties { expiration: Some(short("0")), ..persistent() };
    peer.publish_with("", "expired", expiring, false, b"gone").await;
    peer.expect::<basic::Ack>(1).await;
    peer.call(1, queue::Purge { queue: short("purged"), ..Default::default() }).await;
    assert_eq!(peer.bodies("got").await, ["gone"]);
    let consume = basic::Consume { queue: short("no-ack"), no_ack: true, ..Default::default() };
    peer.call(1, consume).await;
    peer.delivery().await;
    // The answer to a persistent change comes after all changes before it.
    declare(&mut peer, "last").await;
    let restored = open(copy(folder.path()).path());
    let ready: Vec<_> = restored.queues("/").into_iter().map(|queue| (queue.name, queue.ready)).collect();
    let expected =
        [("dead", 1), ("expired", 0), ("got", 0), ("last", 0), ("no-ack", 0), ("purged", 0), ("short", 1)];
    assert_eq!(ready, expected.map(|(name, count)| (name.to_owned(), count)));
    let mut other = Peer::open(&restored).await;
    assert_eq!(other.bodies("dead").await, ["pushed out"]);
    assert_eq!(other.bodies("short").await, ["stays"]);
}

#[tokio::test]
async fn a_stream_survives_with_its_offsets() {
    let folder = tempfile::tempdir().unwrap();
    let broker = open(folder.path());
    let mut peer = confirming(&broker).await;
    let mut arguments = Table::new();
    arguments.insert("x-queue-type", "stream").unwrap();
    arguments.insert("x-max-length-bytes", 10).unwrap();
    let declare = queue::Declare { queue: short("s"), durable: true, arguments, ..Default::default() };
    peer.call(1, declare.clone()).await;
    for body in ["zero", "one", "two", "three"] {
        // Like RabbitMQ, a stream stores all messages, persistent or not.
        peer.publish_with("", "s", Properties::default(), false, body.as_bytes()).await;
        peer.expect::<basic::Ack>(1).await;
    }
    let copied = copy(folder.path());
    shut_down(broker, peer).await;
    for folder in [copied, folder] {
        let broker = open(folder.path());
        let mut peer = confirming(&broker).await;
        peer.call(1, declare.clone()).await;
        peer.publish_with("", "s", Properties::default(), false, b"4").await;
        peer.expect::<basic::Ack>(1).await;
        peer.call(1, basic::Qos { prefetch_count: 10, ..Default::default() }).await;
        let mut arguments = Table::new();
        arguments.insert("x-stream-offset", "first").unwrap();
        peer.call(1, basic::Consume { queue: short("s"), arguments, ..Default::default() }).await;
        for (offset, body) in [(2, "two"), (3, "three"), (4, "4")] {
            let came = peer.expect_content::<basic::Deliver>().await;
            let headers = came.header.properties.decode().unwrap().headers.unwrap();
            let at = headers.get("x-stream-offset").and_then(|offset| offset.as_i64());
            assert_eq!((at, &came.body[..]), (Some(offset), body.as_bytes()));
        }
    }
}

#[tokio::test]
async fn a_large_body_is_kept_once_for_all_queues_it_is_in_and_until_the_last_has_gone() {
    let folder = tempfile::tempdir().unwrap();
    let broker = open(folder.path());
    let mut peer = confirming(&broker).await;
    for name in ["a", "b"] {
        declare(&mut peer, name).await;
        bind(&mut peer, name, "amq.fanout", "").await;
    }
    let body = "x".repeat(300_000);
    publish(&mut peer, "amq.fanout", "", &body).await;
    peer.call(1, queue::Purge { queue: short("a"), ..Default::default() }).await;
    shut_down(broker, peer).await;
    for _ in 0..2 {
        let broker = open(folder.path());
        assert_eq!((broker.queue("/", "a").unwrap().ready, broker.queue("/", "b").unwrap().ready), (0, 1));
        let mut peer = Peer::open(&broker).await;
        let messages = got(&mut peer, "b").await;
        assert!(messages.len() == 1 && messages[0].0 == body);
        shut_down(broker, peer).await;
    }
    let broker = open(folder.path());
    let mut peer = Peer::open(&broker).await;
    peer.call(1, queue::Delete { queue: short("b"), ..Default::default() }).await;
    declare(&mut peer, "b").await;
    shut_down(broker, peer).await;
    let broker = open(folder.path());
    assert_eq!(broker.queue("/", "b").unwrap().ready, 0);
    assert!(broker.bindings("/").iter().all(|binding| binding.destination != "b"));
}

/// The journal, which is written at its end.
pub(super) fn journal_of(folder: &Path) -> std::path::PathBuf {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut journals: Vec<_> =
        files.filter(|path| path.extension().is_some_and(|extension| extension == "jnl")).collect();
    journals.sort();
    journals.pop().expect("a journal")
}

/// The length of the written part of a file; the rest is preallocated and zero.
pub(super) fn written_to(file: &Path) -> usize {
    written(&fs::read(file).unwrap())
}

pub(super) fn written(octets: &[u8]) -> usize {
    let mut pages = octets.chunks(4096);
    let last = pages.rposition(|page| page != &[0; 4096][..page.len()]).map_or(0, |last| last * 4096);
    octets[last..].iter().take(4096).rposition(|octet| *octet != 0).map_or(0, |at| last + at + 1)
}

#[tokio::test]
async fn a_folder_is_one_brokers_alone() {
    let folder = tempfile::tempdir().unwrap();
    let broker = open(folder.path());
    let second = Broker::builder().data_dir(folder.path()).build();
    assert!(matches!(second, Err(DataError::InUse { .. })));
    broker.shutdown().await;
    open(folder.path());
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(matches!(Broker::builder().data_dir(&file).build(), Err(DataError::Unusable { .. })));
}

#[tokio::test]
async fn a_shutdown_confirms_what_was_published_before() {
    let folder = tempfile::tempdir().unwrap();
    let broker = open(folder.path());
    let mut peer = confirming(&broker).await;
    declare(&mut peer, "q").await;
    for body in ["1", "2", "3"] {
        peer.publish_with("", "q", persistent(), false, body.as_bytes()).await;
    }
    // The broker has received them, but they may not be on disk.
    let mut other = Peer::open(&broker).await;
    while broker.queue("/", "q").unwrap().ready < 3 {
        other.settle_down().await;
    }
    drop(other);
    let ending = tokio::spawn(async move { broker.shutdown().await });
    let mut confirmed = 0;
    let close = loop {
        match peer.next().await {
            Some(Frame::Method(1, Method::Basic(basic::Method::Ack(ack)))) => confirmed = ack.delivery_tag,
            Some(Frame::Method(0, Method::Connection(connection::Method::Close(close)))) => break close,
            other => panic!("neither a confirm nor a close: {other:?}"),
        }
    };
    assert_eq!((confirmed, close.reply_code), (3, 320));
    peer.send(0, connection::CloseOk {}).await;
    ending.await.unwrap();
    assert_eq!(open(folder.path()).queue("/", "q").unwrap().ready, 3);
}

#[tokio::test]
async fn an_answer_that_waits_for_the_disk_ends_with_its_channel() {
    let folder = tempfile::tempdir().unwrap();
    let broker = open(folder.path());
    let mut peer = confirming(&broker).await;
    declare(&mut peer, "q").await;
    for _ in 0..20 {
        peer.publish_with("", "q", persistent(), false, b"x").await;
        peer.send(1, channel::Close::default()).await;
        // A confirm may have come first, but none comes after.
        loop {
            match peer.next().await {
                Some(Frame::Method(1, Method::Channel(channel::Method::CloseOk(_)))) => break,
                Some(Frame::Method(1, Method::Basic(basic::Method::Ack(_)))) => {}
                other => panic!("{other:?}"),
            }
        }
        peer.call(1, channel::Open::default()).await;
        peer.call(1, confirm::Select::default()).await;
    }
    assert_eq!(broker.queue("/", "q").unwrap().ready, 20);
}
