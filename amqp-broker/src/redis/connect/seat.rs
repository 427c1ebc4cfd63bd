//! The place of a connection, by which others can see whether it is still there.

use redis::{RedisResult, aio::MultiplexedConnection};

/// A connection's place at a server. The server gives no two of its connections the same number,
/// and another name to itself whenever it starts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Seat {
    /// The server's `run_id`.
    pub(crate) server: String,
    /// The connection's `CLIENT ID`.
    pub(crate) client: u64,
}

impl Seat {
    /// Finds the place of a connection; `None` where the login may not look at connections.
    ///
    /// # Errors
    /// When the connection is broken.
    pub(crate) async fn find(connection: &mut MultiplexedConnection) -> RedisResult<Option<Self>> {
        let id = redis::cmd("CLIENT").arg("ID").query_async::<u64>(connection).await;
        let info = redis::cmd("INFO").arg("server").query_async::<String>(connection).await;
        let (Some(client), Some(info)) = (allowed(id)?, allowed(info)?) else { return Ok(None) };
        let Some(server) = info.lines().find_map(|line| line.strip_prefix("run_id:")) else {
            return Ok(None);
        };
        let seat = Seat { server: server.to_owned(), client };
        let there = allowed(seated(connection, &[client]).await)?;
        Ok(there.is_some_and(|there| there.contains(&client)).then_some(seat))
    }
}

/// Those of some connections, by number, that a server has.
///
/// # Errors
/// When Redis fails.
pub(crate) async fn seated(connection: &mut MultiplexedConnection, clients: &[u64]) -> RedisResult<Vec<u64>> {
    let list = redis::cmd("CLIENT").arg("LIST").arg("ID").arg(clients).query_async(connection).await;
    let list: String = list?;
    let number = |line: &str| line.split(' ').find_map(|word| word.strip_prefix("id=")?.parse().ok());
    Ok(list.lines().filter_map(number).collect())
}

/// An answer; `None` when the server refuses it.
fn allowed<T>(answer: RedisResult<T>) -> RedisResult<Option<T>> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if error.is_io_error() || error.is_timeout() => Err(error),
        Err(_) => Ok(None),
    }
}
