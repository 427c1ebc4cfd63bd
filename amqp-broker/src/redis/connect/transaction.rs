//! Changes that depend on what is there.

use std::time::Duration;

use redis::{Pipeline, RedisResult, Value, aio::MultiplexedConnection};
use tokio::time;
use uuid::Uuid;

/// The most tries of a transaction when others change its keys meanwhile.
const MOST_TRIES: u32 = 200;

/// The decision of a transaction: the changes, and what is told of it.
pub(crate) type Decision<T> = (Option<Pipeline>, T);

/// Reads, decides, and changes in one step, unless another has changed one of the keys meanwhile:
/// then it reads and decides again. It needs no scripts. Returns what was decided at last, and the
/// answers to the changes; `None` when the keys changed all the time.
///
/// # Errors
/// When Redis fails.
pub(crate) async fn transact<T>(
    connection: &mut MultiplexedConnection,
    keys: &[String],
    reads: &Pipeline,
    decide: &mut (impl FnMut(Vec<Value>) -> Decision<T> + Send),
) -> RedisResult<Option<(T, Value)>> {
    for tries in 0..MOST_TRIES {
        let mut looking = redis::pipe();
        looking.cmd("WATCH").arg(keys).ignore();
        reads.cmd_iter().for_each(|read| _ = looking.add_command(read.clone()));
        let read: Vec<Value> = looking.query_async(connection).await?;
        let (changes, decided) = decide(read);
        let Some(mut changes) = changes else {
            redis::cmd("UNWATCH").exec_async(connection).await?;
            return Ok(Some((decided, Value::Nil)));
        };
        let answers: Value = changes.atomic().query_async(connection).await?;
        if answers != Value::Nil {
            return Ok(Some((decided, answers)));
        }
        time::sleep(pause(tries)).await;
    }
    Ok(None)
}

/// The pause after a try in vain, which is random: of all who try at the same time, one succeeds.
fn pause(tries: u32) -> Duration {
    let most = 1_000_u64 << tries.min(6);
    let (random, _) = Uuid::new_v4().as_u64_pair();
    Duration::from_micros(random % most)
}
