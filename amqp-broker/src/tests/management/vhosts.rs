//! Virtual hosts, created and deleted while the broker runs.

use amqp_codec::method::connection;
use serde_json::json;

use super::client::Served;
use crate::{broker::Broker, tests::peer::Peer};

#[tokio::test]
async fn a_virtual_host_comes_and_goes_with_its_connections_and_permissions() {
    let served = Served::start().await;
    assert_eq!(served.call("PUT", "/api/vhosts/new", "").await.status, 201);
    assert_eq!(served.call("PUT", "/api/vhosts/new", "").await.status, 204);
    let mut peer = Peer::greet(&served.broker, "new", 131_072).await;
    peer.call(1, amqp_codec::method::channel::Open::default()).await;
    peer.declare("q").await;
    let deleting = tokio::spawn({
        let broker = served.broker.clone();
        async move { broker.delete_vhost("new").await }
    });
    let close = peer.expect::<connection::Close>(0).await;
    assert_eq!(close.reply_text.to_string(), "CONNECTION_FORCED - vhost 'new' is deleted");
    peer.send(0, connection::CloseOk {}).await;
    drop(peer);
    assert_eq!(deleting.await.unwrap(), Ok(true));
    assert_eq!(served.call("GET", "/api/vhosts/new", "").await.status, 404);
    assert_eq!(served.call("DELETE", "/api/vhosts/new", "").await.status, 404);
    assert_eq!(served.call("PUT", "/api/vhosts/new", "").await.status, 201);
    assert_eq!(served.get("/api/queues/new").await, json!([]));
}

#[cfg(feature = "durable")]
#[tokio::test]
async fn a_folder_keeps_what_was_created_and_forgets_what_was_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let start = || Broker::builder().data_dir(folder.path()).build().unwrap();
    let broker = start();
    for name in ["kept", "gone"] {
        assert_eq!(broker.create_vhost(name).await, Ok(true));
        let mut peer = Peer::greet(&broker, name, 131_072).await;
        peer.call(1, amqp_codec::method::channel::Open::default()).await;
        let declare = amqp_codec::method::queue::Declare {
            queue: crate::tests::peer::short("q"),
            durable: true,
            ..Default::default()
        };
        peer.call(1, declare).await;
        peer.call(0, connection::Close::default()).await;
    }
    assert_eq!(broker.delete_vhost("gone").await, Ok(true));
    broker.shutdown().await;
    let broker = start();
    assert_eq!(broker.queues("kept").len(), 1);
    assert!(broker.exchanges("gone").is_empty());
    // Created again, it is empty.
    assert_eq!(broker.create_vhost("gone").await, Ok(true));
    assert!(broker.queues("gone").is_empty() && !broker.exchanges("gone").is_empty());
    broker.shutdown().await;
    assert_eq!(start().queues("gone").len(), 0);
}
