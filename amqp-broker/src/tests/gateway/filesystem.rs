//! The backend in folders.

use std::{fs, path::Path};

use amqp_codec::{
    Method, Properties,
    method::{basic, channel, confirm, exchange as methods, queue},
};
use tempfile::TempDir;

use crate::{
    Broker,
    filesystem::{Filesystem, FilesystemOptions},
    tests::{
        peer::{Peer, short},
        steps::{bind, consume, exchange, unbind},
    },
};

/// A broker whose messages are in the folder `data`.
fn broker(folder: &TempDir) -> Broker {
    let [data, control] = ["data", "control"].map(|name| folder.path().join(name));
    let options =
        FilesystemOptions::new().data_folder_in(&data).data_folder_out(data).control_folder(control);
    Broker::builder().backend("/", Filesystem::new(options)).build()
}

fn files(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn messages_are_files_until_they_are_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let broker = broker(&folder);
    let data = folder.path().join("data");
    let mut peer = Peer::open(&broker).await;
    peer.declare("q").await;
    peer.call(1, confirm::Select::default()).await;
    for body in ["1", "2", "3"] {
        peer.publish("", "q", body).await;
        peer.expect::<basic::Ack>(1).await;
    }
    let names = files(&data);
    assert_eq!(names.len(), 3);
    assert!(names.iter().all(|name| name.ends_with(".q.msg")), "{names:?}");
    peer.consume("q", "c").await;
    for (tag, body) in [(1, "1"), (2, "2"), (3, "3")] {
        assert_eq!(peer.delivery().await, (tag, false, body.to_owned()));
    }
    assert!(files(&data).iter().all(|name| name.contains(".q.msg.claimed-")));
    peer.send(1, basic::Ack { delivery_tag: 1, multiple: false }).await;
    peer.call(1, channel::Close::default()).await;
    assert_eq!(files(&data), names[1..], "they are back in their places");
    peer.call(1, channel::Open::default()).await;
    peer.consume("q", "c").await;
    assert_eq!(peer.delivery().await, (1, true, "2".to_owned()));
}

#[tokio::test]
async fn a_message_whose_time_is_over_leaves_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let broker = broker(&folder);
    let mut peer = Peer::open(&broker).await;
    peer.declare("q").await;
    for no_ack in [true, false] {
        let properties = Properties { expiration: Some(short("0")), ..Default::default() };
        peer.publish_with("", "q", properties, true, b"m").await;
        peer.send(1, basic::Get { queue: short("q"), no_ack, ..Default::default() }).await;
        peer.expect::<basic::GetEmpty>(1).await;
        assert_eq!(files(&folder.path().join("data")), [""; 0], "{no_ack}");
    }
}

#[tokio::test]
async fn topic_and_fanout_exchanges_route_into_files() {
    let folder = tempfile::tempdir().unwrap();
    let broker = broker(&folder);
    let mut peer = Peer::open(&broker).await;
    for (name, kind, pattern) in [("t", "topic", "a.*"), ("f", "fanout", "")] {
        peer.call(1, exchange(name, kind)).await;
        for queue in ["one", "two"] {
            peer.declare(&format!("{name}.{queue}")).await;
            let binding =
                queue::Bind { routing_key: short(pattern), ..bind(&format!("{name}.{queue}"), name) };
            peer.call(1, binding).await;
        }
    }
    for (to, key) in [("t", "a.b"), ("f", "")] {
        peer.publish(to, key, "x").await;
    }
    for queue in ["t.one", "t.two", "f.one", "f.two"] {
        assert_eq!(peer.bodies(queue).await, ["x"], "{queue}");
    }
    assert_eq!(files(&folder.path().join("control")).len(), 3, "two exchanges and a reader");
}

#[tokio::test]
async fn a_binding_is_written_for_the_kind_of_exchange_that_another_has_declared() {
    let folder = tempfile::tempdir().unwrap();
    let broker = broker(&folder);
    let table = folder.path().join("control/t.exchange");
    fs::create_dir(folder.path().join("control")).unwrap();
    fs::write(&table, r#"[["a.*","^a\\.[^\\.]+$","of kombu"]]"#).unwrap();
    let mut peer = Peer::open(&broker).await;
    peer.declare("q").await;
    for name in ["t", "amq.topic"] {
        peer.call(1, queue::Bind { routing_key: short("b.*"), ..bind("q", name) }).await;
    }
    let expected = r#"[["b.*","^b\\.[^\\.]+$","q"],["a.*","^a\\.[^\\.]+$","of kombu"]]"#;
    assert_eq!(fs::read_to_string(&table).unwrap(), expected);
    for (to, key) in [("t", "b.1"), ("t", "b.1.2"), ("amq.topic", "b.3")] {
        peer.publish_with(to, key, Properties::default(), false, key.as_bytes()).await;
    }
    assert_eq!(peer.bodies("q").await, ["b.1", "b.3"]);
}

#[tokio::test]
async fn a_queue_is_not_bound_to_an_exchange_that_nobody_has_declared() {
    let folder = tempfile::tempdir().unwrap();
    let broker = broker(&folder);
    let mut peer = Peer::open(&broker).await;
    peer.declare("q").await;
    let control = folder.path().join("control");
    let before = files(&control);
    peer.send(1, bind("q", "x")).await;
    assert_eq!(peer.expect::<channel::Close>(1).await.reply_code, 404);
    assert_eq!(files(&control), before);
}

#[tokio::test]
async fn what_is_no_message_is_left_alone_and_holds_up_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let broker = broker(&folder);
    let mut peer = Peer::open(&broker).await;
    peer.declare("q").await;
    peer.publish("", "q", "good").await;
    peer.settle_down().await;
    let data = folder.path().join("data");
    fs::write(data.join("0_foreign.q.msg"), "no JSON").unwrap();
    fs::write(data.join("0_half.q.msg"), "").unwrap();
    assert_eq!(peer.bodies("q").await, ["good"]);
    assert_eq!(files(&data), ["0_foreign.q.msg", "0_half.q.msg"]);
}

#[tokio::test]
async fn a_table_that_cannot_be_read_is_left_alone_and_harms_no_other_exchange() {
    let folder = tempfile::tempdir().unwrap();
    let broker = broker(&folder);
    let control = folder.path().join("control");
    let mut peer = Peer::open(&broker).await;
    fs::write(control.join("x.exchange"), r#"[["k","","#).unwrap();
    fs::create_dir(control.join("y.exchange")).unwrap();
    peer.call(1, exchange("good", "direct")).await;
    peer.declare("q").await;
    peer.call(1, bind("q", "good")).await;
    for name in ["x", "y"] {
        let find = methods::Declare { passive: true, ..exchange(name, "direct") };
        let delete = methods::Delete { exchange: short(name), ..Default::default() };
        let methods: [Method; 4] =
            [find.into(), bind("q", name).into(), unbind("q", name).into(), delete.into()];
        for method in methods {
            peer.send(1, method).await;
            refused(&mut peer).await;
        }
        peer.publish(name, "k", "m").await;
        refused(&mut peer).await;
    }
    peer.publish("good", "", "m").await;
    let delete = queue::Delete { queue: short("q"), ..Default::default() };
    assert_eq!(peer.call(1, delete).await.message_count, 1);
    peer.send(1, queue::Declare { queue: short("q"), passive: true, ..Default::default() }).await;
    assert_eq!(peer.expect::<channel::Close>(1).await.reply_code, 404);
    assert_eq!(fs::read_to_string(control.join("x.exchange")).unwrap(), r#"[["k","","#);
}

/// Expects the channel's end with 406, and opens it again.
async fn refused(peer: &mut Peer) {
    assert_eq!(peer.expect::<channel::Close>(1).await.reply_code, 406);
    peer.send(1, channel::CloseOk {}).await;
    peer.call(1, channel::Open::default()).await;
}

#[tokio::test]
async fn a_name_that_leaves_the_folder_is_refused_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let broker = broker(&folder);
    let mut peer = Peer::open(&broker).await;
    let queue = |name: String| queue::Declare { queue: short(&name), ..Default::default() };
    let names = ["../q".to_owned(), "..".to_owned(), "a/b".to_owned(), "a\0b".to_owned(), "q".repeat(250)];
    for name in names {
        peer.send(1, queue(name.clone())).await;
        refused(&mut peer).await;
        peer.publish("", &name, "x").await;
        refused(&mut peer).await;
        peer.send(1, exchange(&name, "direct")).await;
        refused(&mut peer).await;
        peer.publish(&name, "k", "x").await;
        refused(&mut peer).await;
        peer.send(1, bind(&name, "amq.direct")).await;
        refused(&mut peer).await;
    }
    assert_eq!(files(&folder.path().join("data")), [""; 0]);
    assert_eq!(files(folder.path()), ["control", "data"]);
}

#[tokio::test]
async fn a_name_that_leaves_the_folder_is_refused_before_anything_is_read_or_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let broker = broker(&folder);
    let mut peer = Peer::open(&broker).await;
    peer.declare("q").await;
    // Each would be found by its name.
    fs::write(folder.path().join("x.exchange"), r#"[["k", "", "q"]]"#).unwrap();
    fs::write(folder.path().join("1_a.q.msg"), "{}").unwrap();
    for name in ["../x", "..", "a/b", "a\0b", &"q".repeat(250)] {
        let acts: [Method; 7] = [
            methods::Declare { passive: true, ..exchange(name, "direct") }.into(),
            methods::Delete { exchange: short(name), ..Default::default() }.into(),
            unbind("q", name).into(),
            queue::Declare { queue: short(name), passive: true, ..Default::default() }.into(),
            queue::Purge { queue: short(name), ..Default::default() }.into(),
            queue::Delete { queue: short(name), ..Default::default() }.into(),
            consume(name, "t").into(),
        ];
        for act in acts {
            peer.send(1, act).await;
            refused(&mut peer).await;
        }
    }
    assert_eq!(files(folder.path()), ["1_a.q.msg", "control", "data", "x.exchange"]);
}

#[tokio::test]
async fn a_queue_of_a_table_that_leaves_the_folder_is_refused_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let broker = broker(&folder);
    let mut peer = Peer::open(&broker).await;
    // kombu checks the names of exchanges only.
    for name in ["../q", "..", "a/b", "a\0b", &"q".repeat(250)] {
        let rows = serde_json::json!([["k", "", name], ["k", "", "good"]]);
        fs::write(folder.path().join("control/x.exchange"), rows.to_string()).unwrap();
        peer.publish("x", "k", "m").await;
        let close: channel::Close = peer.expect(1).await;
        let text = close.reply_text.to_string();
        assert!(close.reply_code == 406 && text.contains("the bindings of exchange 'x'"), "{text}");
        peer.send(1, channel::CloseOk {}).await;
        peer.call(1, channel::Open::default()).await;
    }
    assert_eq!(files(&folder.path().join("data")), [""; 0]);
    assert_eq!(files(folder.path()), ["control", "data"]);
}

#[tokio::test]
async fn claims_of_a_reader_that_is_gone_return_marked() {
    let folder = tempfile::tempdir().unwrap();
    let broker = broker(&folder);
    let mut peer = Peer::open(&broker).await;
    peer.declare("q").await;
    peer.publish("", "q", "x").await;
    peer.settle_down().await;
    // As a process leaves it that is killed.
    let data = folder.path().join("data");
    let name = files(&data).remove(0);
    let claimed = format!("{name}.claimed-7f65c091-0000-4000-8000-000000000000");
    fs::rename(data.join(&name), data.join(claimed)).unwrap();
    peer.consume("q", "c").await;
    assert_eq!(peer.delivery().await, (1, true, "x".to_owned()));
}

#[tokio::test]
async fn what_is_done_with_goes_to_the_folder_for_that() {
    let folder = tempfile::tempdir().unwrap();
    let [data, control, done] = ["data", "control", "done"].map(|name| folder.path().join(name));
    let query = format!(
        "filesystem://?data_folder_in={0}&data_folder_out={0}&control_folder={1}&processed_folder={2}&store_processed=true",
        data.display(),
        control.display(),
        done.display()
    );
    let options = FilesystemOptions::from_url(&query).unwrap();
    let broker = Broker::builder().backend("/", Filesystem::new(options)).build();
    let mut peer = Peer::open(&broker).await;
    peer.declare("q").await;
    for body in ["acked", "rejected", "taken", "back"] {
        peer.publish("", "q", body).await;
    }
    peer.settle_down().await;
    let names = files(&data);
    let get = |no_ack| basic::Get { queue: short("q"), no_ack, ..Default::default() };
    for no_ack in [false, false, true, false] {
        peer.send(1, get(no_ack)).await;
        peer.expect_content::<basic::GetOk>().await;
    }
    assert_eq!(files(&done), names[2..3], "one that nobody acknowledges is done with at once");
    peer.send(1, basic::Ack { delivery_tag: 1, multiple: false }).await;
    peer.send(1, basic::Reject { delivery_tag: 2, requeue: false }).await;
    peer.send(1, basic::Reject { delivery_tag: 4, requeue: true }).await;
    peer.settle_down().await;
    assert_eq!(files(&done), names[..3]);
    assert_eq!(files(&data), names[3..]);
}

#[tokio::test]
async fn what_others_write_wakes_a_consumer() {
    let folder = tempfile::tempdir().unwrap();
    let (broker, other) = (broker(&folder), broker(&folder));
    let (mut peer, mut other) = (Peer::open(&broker).await, Peer::open(&other).await);
    peer.declare("q").await;
    peer.consume("q", "c").await;
    other.publish("", "q", "from elsewhere").await;
    assert_eq!(peer.delivery().await.2, "from elsewhere");
}

#[tokio::test]
async fn what_is_written_and_what_is_read_have_folders_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let [here, there, control] = ["here", "there", "control"].map(|name| folder.path().join(name));
    let open = async |data_in: &Path, data_out: &Path| {
        let options = FilesystemOptions::new()
            .data_folder_in(data_in)
            .data_folder_out(data_out)
            .control_folder(&control);
        let broker = Broker::builder().backend("/", Filesystem::new(options)).build();
        (Peer::open(&broker).await, broker)
    };
    let ((mut peer, _broker), (mut other, _other)) = (open(&here, &there).await, open(&there, &here).await);
    other.declare("q").await;
    other.consume("q", "c").await;
    peer.publish("", "q", "to the other side").await;
    assert_eq!(other.delivery().await.2, "to the other side");
    assert_eq!(files(&here), [""; 0]);
}
