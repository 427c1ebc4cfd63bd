use std::time::Duration;

use amqp_client::{
    Channel, ConnectOptions, Connection, ConsumeOptions, Consumer, GetOptions, Message, Publisher, Route, Uri,
};
use amqp_codec::method::{basic, channel, confirm, connection};
use tokio::{
    io::{AsyncWriteExt as _, DuplexStream, duplex},
    join,
    task::{JoinSet, yield_now},
};

use crate::script::{method, must_end, runtime, stream_of};

/// The tag of the one consumer.
pub(crate) const TAG: &str = "golden";

/// Sends a client anything that a broker may send, while calls, publishes and a consumer wait.
/// Nothing panics, and every wait ends when the stream does.
///
/// The first octet gives the size of the parts in which the rest arrives.
pub fn engine(data: &[u8]) {
    let Some((&part, records)) = data.split_first() else { return };
    let stream = stream_of(records);
    runtime().block_on(async {
        let (mut broker, client) = duplex(1 << 20);
        let (connection, channel, publisher, consumer) = session(&mut broker, client).await;
        let mut users = users(&connection, &channel, &publisher, consumer).await;
        for bytes in stream.chunks(usize::from(part).max(1)) {
            yield_now().await;
            if broker.write_all(bytes).await.is_err() {
                break;
            }
        }
        yield_now().await;
        drop(broker);
        must_end("closed()", connection.closed()).await;
        while let Some(ended) = must_end("a user", users.join_next()).await {
            ended.expect("no user panics");
        }
    });
}

async fn session(
    broker: &mut DuplexStream,
    client: DuplexStream,
) -> (Connection, Channel, Publisher, Consumer) {
    let start = connection::Start { mechanisms: "PLAIN".into(), ..Default::default() };
    let tune = connection::Tune { channel_max: 4, frame_max: 4096, heartbeat: 0 };
    let handshake = [method(0, start), method(0, tune), method(0, connection::OpenOk::default())].concat();
    let options = ConnectOptions::new().heartbeat(Duration::ZERO);
    let uri = Uri::default();
    let (connection, _) = join!(options.connect_stream(client, &uri), broker.write_all(&handshake));
    let connection = connection.expect("a handshake by the book");
    let opened = method(1, channel::OpenOk::default());
    let (channel, _) = join!(connection.open_channel(), broker.write_all(&opened));
    let channel = channel.expect("an answer by the book");
    let selected = method(1, confirm::SelectOk {});
    let (publisher, _) = join!(channel.publisher(), broker.write_all(&selected));
    let consume_ok = basic::ConsumeOk { consumer_tag: TAG.try_into().expect("it is short") };
    let consuming = [method(1, basic::QosOk {}), method(1, consume_ok)].concat();
    let options = ConsumeOptions::new().tag(TAG);
    let (consumer, _) = join!(channel.consume("jobs", options), broker.write_all(&consuming));
    let publisher = publisher.expect("an answer by the book");
    (connection, channel, publisher, consumer.expect("an answer by the book"))
}

/// Everything that can wait on a channel.
async fn users(
    connection: &Connection,
    channel: &Channel,
    publisher: &Publisher,
    mut consumer: Consumer,
) -> JoinSet<()> {
    let mut users = JoinSet::new();
    for _ in 0..3 {
        if let Ok(confirm) =
            publisher.publish(Route::new("", "nowhere").mandatory(true), Message::new("lost")).await
        {
            users.spawn(async { drop(confirm.await) });
        }
    }
    users.spawn(async move {
        while let Some(Ok(delivery)) = consumer.recv().await {
            let _ = delivery.properties();
            let _ = match delivery.delivery_tag() % 4 {
                0 | 1 => delivery.ack().await,
                2 => delivery.nack(true).await,
                _ => Ok(()),
            };
        }
    });
    let (getting, purging, closing) = (channel.clone(), channel.clone(), channel.clone());
    users.spawn(async move { drop(getting.get("jobs", GetOptions::new()).await) });
    users.spawn(async move { drop(purging.purge("jobs").await) });
    users.spawn(async move { drop(closing.closed().await) });
    let opening = connection.clone();
    users.spawn(async move { drop(opening.open_channel().await) });
    users
}
