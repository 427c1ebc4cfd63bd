//! Two programs on one Redis: what belongs to a connection of one is not the other's, until that
//! is killed.

use amqp_client::{
    Binding, Channel, ConnectOptions, Connection, ConsumeOptions, Error, Exchange, Message, Queue, ReplyCode,
};
use tests::{EmbeddedBroker, Redis};

use super::within;

async fn channel(program: &EmbeddedBroker) -> (Connection, Channel) {
    let url = format!("amqp://guest:guest@127.0.0.1:{}/", program.port());
    let connection = within(ConnectOptions::new().connect(&url)).await.unwrap();
    let channel = connection.open_channel().await.unwrap();
    (connection, channel)
}

fn code<T: std::fmt::Debug>(refused: Result<T, Error>) -> ReplyCode {
    refused.unwrap_err().reply_code().unwrap()
}

#[tokio::test]
async fn what_a_killed_process_had_to_itself_is_free_at_once() {
    let test = concat!(module_path!(), "::what_a_killed_process_had_to_itself_is_free_at_once");
    let Some(program) = EmbeddedBroker::require(test) else { return };
    if !Redis::require(test) {
        return;
    }
    let redis = Redis::start().await.unwrap();
    let arguments = ["--redis", &redis.url(0)];
    let mut first = EmbeddedBroker::start_in_memory(program.clone(), &arguments).await.unwrap();
    let second = EmbeddedBroker::start_in_memory(program, &arguments).await.unwrap();
    let (_connection, owner) = channel(&first).await;
    let (connection, _) = channel(&second).await;
    let (own, shared) = (Queue::new("own").exclusive(true), Queue::new("shared"));
    let exchange = Exchange::fanout("x").auto_delete(true);
    owner.declare(&own).await.unwrap();
    owner.declare(&shared).await.unwrap();
    owner.declare(&exchange).await.unwrap();
    owner.bind(Binding::new(&own, &exchange)).await.unwrap();
    owner.publish(("", "own"), &Message::new("left behind")).await.unwrap();
    let _consumer = owner.consume(&shared, ConsumeOptions::new().exclusive(true)).await.unwrap();

    let other = || async { connection.open_channel().await.unwrap() };
    assert_eq!(other().await.declare(&shared).await.unwrap().consumers, 1);
    assert_eq!(code(other().await.declare(&own).await), ReplyCode::RESOURCE_LOCKED);
    let refused = other().await.consume(&shared, ConsumeOptions::new()).await;
    assert_eq!(refused.err().and_then(|error| error.reply_code()), Some(ReplyCode::ACCESS_REFUSED));

    first.kill().unwrap();
    // Redis notices it a moment later.
    let declared = within(async {
        loop {
            match other().await.declare(&own).await {
                Ok(declared) => return declared,
                refused => assert_eq!(code(refused), ReplyCode::RESOURCE_LOCKED),
            }
        }
    });
    assert_eq!(declared.await.messages, 0, "it is another queue");
    assert_eq!(code(other().await.declare(exchange.passive(true)).await), ReplyCode::NOT_FOUND);
    assert_eq!(other().await.declare(&shared).await.unwrap().consumers, 0);
    let alone = ConsumeOptions::new().exclusive(true);
    other().await.consume(&shared, alone).await.unwrap();
}
