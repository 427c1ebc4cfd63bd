//! Changes that depend on what is there.

use redis::{Pipeline, RedisResult, Value, aio::MultiplexedConnection};

/// How often a transaction is tried when others change its keys meanwhile.
const MOST_TRIES: usize = 100;

/// What a transaction does: the changes, and what is told of it.
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
    for _ in 0..MOST_TRIES {
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
    }
    Ok(None)
}
