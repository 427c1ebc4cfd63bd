//! Operations whose client is lost, or whose broker is killed, before they are done.

use amqp_codec::{
    PERSISTENT, Properties, ShortString,
    method::{queue, tx},
};
use tests::{EmbeddedBroker, RawClient, Usage, hostile::Operation};

use super::within;

fn q() -> ShortString {
    ShortString::from_static("q")
}

async fn start(test: &str) -> Option<(EmbeddedBroker, String)> {
    let program = EmbeddedBroker::require(test)?;
    let broker = EmbeddedBroker::start_in_memory(program, &[]).await.unwrap();
    let address = format!("127.0.0.1:{}", broker.port());
    Some((broker, address))
}

async fn prepared(address: &str, operation: Operation) -> RawClient {
    let mut client = RawClient::connect(address, "/").await.unwrap();
    within(operation.prepare(&mut client)).await.unwrap();
    client
}

#[tokio::test]
async fn a_purge_whose_client_has_gone_is_none_or_all() {
    const MESSAGES: usize = 100_000;
    let test = "a_purge_whose_client_has_gone_is_none_or_all";
    let Some((broker, address)) = start(test).await else { return };
    let mut client = prepared(&address, Operation::Purge { messages: MESSAGES }).await;
    client.send(1, queue::Purge { queue: q(), ..Default::default() }).await.unwrap();
    drop(client);
    Usage::rest(broker.pid()).await.unwrap();
    let mut other = within(RawClient::connect(&address, "/")).await.unwrap();
    let ready = within(other.ready("q")).await.unwrap() as usize;
    assert!(ready == 0 || ready == MESSAGES, "{ready} messages are left");
}

#[tokio::test]
async fn a_queue_whose_deletion_goes_on_without_its_client_can_be_declared_anew() {
    let test = "a_queue_whose_deletion_goes_on_without_its_client_can_be_declared_anew";
    let Some((_broker, address)) = start(test).await else { return };
    let mut other = RawClient::connect(&address, "/").await.unwrap();
    let mut client = prepared(&address, Operation::DeleteFull { messages: 100_000 }).await;
    client.send(1, queue::Delete { queue: q(), ..Default::default() }).await.unwrap();
    drop(client);
    // The old queue exists until the deletion is read, and from then on for nobody.
    while within(other.ready("q")).await.is_ok() {}
    let mut other = within(RawClient::connect(&address, "/")).await.unwrap();
    let declared = other.call(1, queue::Declare { queue: q(), ..Default::default() });
    assert_eq!(within(declared).await.unwrap().message_count, 0);
    other.publish("", "q", &Properties::default(), b"new").await.unwrap();
    assert_eq!(within(other.ready("q")).await.unwrap(), 1);
}

#[tokio::test]
async fn a_commit_whose_client_has_gone_is_none_or_all() {
    const MESSAGES: usize = 30_000;
    let test = "a_commit_whose_client_has_gone_is_none_or_all";
    let Some((broker, address)) = start(test).await else { return };
    let mut client = prepared(&address, Operation::Commit { messages: MESSAGES }).await;
    client.send(1, tx::Commit {}).await.unwrap();
    drop(client);
    Usage::rest(broker.pid()).await.unwrap();
    let mut other = within(RawClient::connect(&address, "/")).await.unwrap();
    let ready = within(other.ready("q")).await.unwrap() as usize;
    assert!(ready == 0 || ready == MESSAGES, "{ready} messages are there");
}

#[tokio::test]
async fn a_commit_is_none_or_all_when_the_broker_is_killed() {
    const MESSAGES: usize = 10_000;
    let test = "a_commit_is_none_or_all_when_the_broker_is_killed";
    let Some(program) = EmbeddedBroker::require(test) else { return };
    let mut broker = EmbeddedBroker::start(program).await.unwrap();
    let address = format!("127.0.0.1:{}", broker.port());
    // The numbers say how many answers another client gets between the commit and the kill.
    for answers in [0, 1, 3, 10, 30, 100] {
        let mut other = RawClient::connect(&address, "/").await.unwrap();
        other.call(1, queue::Delete { queue: q(), ..Default::default() }).await.unwrap();
        other.call(1, queue::Declare { queue: q(), durable: true, ..Default::default() }).await.unwrap();
        let mut client = RawClient::connect(&address, "/").await.unwrap();
        client.call(1, tx::Select {}).await.unwrap();
        let persistent = Properties { delivery_mode: Some(PERSISTENT), ..Default::default() };
        for _ in 0..MESSAGES {
            client.publish("", "q", &persistent, b"x").await.unwrap();
        }
        assert_eq!(within(client.ready("q")).await.unwrap(), 0);
        client.send(1, tx::Commit {}).await.unwrap();
        for _ in 0..answers {
            within(other.ready("q")).await.unwrap();
        }
        broker.kill().unwrap();
        broker.restart().await.unwrap();
        let mut other = RawClient::connect(&address, "/").await.unwrap();
        let ready = within(other.ready("q")).await.unwrap() as usize;
        assert!(ready == 0 || ready == MESSAGES, "{ready} messages after {answers} answers");
    }
}
