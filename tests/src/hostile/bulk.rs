//! Bulk operations on the queue `q`, which is bound to the exchange `x`.

use std::{io, time::Duration};

use amqp_codec::{
    Properties, ShortString, Table, Value,
    method::{basic, exchange, queue, tx},
};
use tokio::time::sleep;

use super::frames::{Frames, table};
use crate::raw_client::{RawClient, publish, short};

/// The pause between two checks of a queue that fills by itself.
const POLL_INTERVAL: Duration = Duration::from_millis(1);

pub(super) async fn bind_many(client: &mut RawClient, kind: &str, bindings: usize) -> io::Result<()> {
    let mut frames = Frames::to(client);
    frames.exchange("x", kind).await?;
    frames.queue("q", Table::new()).await?;
    for number in 0..bindings {
        frames.bind("q", "x", &number.to_string(), table([("n", Value::I64(number as i64))])?).await?;
    }
    frames.done("q").await.map(drop)
}

pub(super) async fn delete_exchange(client: &mut RawClient) -> io::Result<()> {
    client.call(1, exchange::Delete { exchange: short("x")?, ..Default::default() }).await?;
    // The rest of the bindings would keep routing through this exchange.
    let mut frames = Frames::to(client);
    frames.exchange("x", "direct").await?;
    frames.repeat(&publish(1, "x", "0", &Properties::default(), b"x")?, 1).await?;
    equal("the queue's messages", frames.done("q").await? as usize, 0)
}

pub(super) async fn delete_queue(client: &mut RawClient, messages: usize) -> io::Result<()> {
    let deleted = client.call(1, queue::Delete { queue: short("q")?, ..Default::default() }).await?;
    equal("deleted messages", deleted.message_count as usize, messages)?;
    let mut frames = Frames::to(client);
    frames.queue("q", Table::new()).await?;
    equal("messages of the new queue", frames.done("q").await? as usize, 0)
}

pub(super) async fn fill(client: &mut RawClient, messages: usize) -> io::Result<()> {
    let mut frames = Frames::to(client);
    frames.queue("q", Table::new()).await?;
    frames.repeat(&publish(1, "", "q", &Properties::default(), b"x")?, messages).await?;
    equal("messages", frames.done("q").await? as usize, messages)
}

pub(super) async fn purge(client: &mut RawClient, messages: usize) -> io::Result<()> {
    let purged = client.call(1, queue::Purge { queue: short("q")?, ..Default::default() }).await?;
    equal("purged messages", purged.message_count as usize, messages)?;
    equal("messages left", client.ready("q").await? as usize, 0)
}

pub(super) async fn prepare_commit(client: &mut RawClient, messages: usize) -> io::Result<()> {
    client.call(1, tx::Select {}).await?;
    let mut frames = Frames::to(client);
    frames.queue("q", Table::new()).await?;
    frames.repeat(&publish(1, "", "q", &Properties::default(), b"x")?, messages).await?;
    equal("messages before the commit", frames.done("q").await? as usize, 0)
}

pub(super) async fn commit(client: &mut RawClient, messages: usize) -> io::Result<()> {
    client.call(1, tx::Commit {}).await?;
    equal("messages", client.ready("q").await? as usize, messages)
}

/// The first message never expires; a queue expires no other before it is gone.
pub(super) async fn prepare_expiry(client: &mut RawClient, messages: usize) -> io::Result<()> {
    let mut frames = Frames::to(client);
    frames.exchange("x", "fanout").await?;
    frames.queue("dead", Table::new()).await?;
    frames.bind("dead", "x", "", Table::new()).await?;
    frames.queue("q", table([("x-dead-letter-exchange", Value::from("x"))])?).await?;
    frames.repeat(&publish(1, "", "q", &Properties::default(), b"x")?, 1).await?;
    let expiration = Some(ShortString::from_static("1"));
    let brief = Properties { expiration, ..Default::default() };
    frames.repeat(&publish(1, "", "q", &brief, b"x")?, messages).await?;
    equal("messages", frames.done("q").await? as usize, messages + 1)
}

pub(super) async fn expire(client: &mut RawClient, messages: usize) -> io::Result<()> {
    client.send(1, basic::Get { queue: short("q")?, no_ack: true, ..Default::default() }).await?;
    client.expect::<basic::GetOk>(1).await?;
    // These are its header and its body.
    client.next().await?;
    client.next().await?;
    while (client.ready("dead").await? as usize) < messages {
        sleep(POLL_INTERVAL).await;
    }
    equal("messages left", client.ready("q").await? as usize, 0)
}

fn equal(what: &str, is: usize, should: usize) -> io::Result<()> {
    if is == should {
        return Ok(());
    }
    Err(io::Error::other(format!("{what}: {is} instead of {should}")))
}
