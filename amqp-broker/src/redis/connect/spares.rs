//! Connections for commands that wait in Redis and would hold up whatever else is sent on theirs.

use parking_lot::Mutex;
use redis::{RedisResult, aio::MultiplexedConnection};

/// The most that are kept for later.
const MOST_IDLE: usize = 16;

/// Idle connections. Each is used by one at a time, who takes it out meanwhile.
#[derive(Debug, Default)]
pub(crate) struct Spares {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    idle: Vec<MultiplexedConnection>,
    /// How often all were dropped. One that was out meanwhile is not put back.
    cleared: u64,
}

/// A connection that is out.
pub(crate) struct Spare {
    pub(crate) connection: MultiplexedConnection,
    cleared: u64,
}

impl Spares {
    /// Takes one out; the caller opens one if there is none.
    pub(crate) async fn take<E>(
        &self,
        open: impl Future<Output = Result<MultiplexedConnection, E>>,
    ) -> Result<Spare, E> {
        let (idle, cleared) = {
            let mut state = self.state.lock();
            (state.idle.pop(), state.cleared)
        };
        let connection = match idle {
            Some(connection) => connection,
            None => open.await?,
        };
        Ok(Spare { connection, cleared })
    }

    /// Puts one back that has answered all.
    pub(crate) fn put(&self, Spare { connection, cleared }: Spare) {
        let mut state = self.state.lock();
        if state.cleared == cleared && state.idle.len() < MOST_IDLE {
            state.idle.push(connection);
        }
    }

    /// Drops all, those that are out when they come back.
    pub(crate) fn clear(&self) {
        let mut state = self.state.lock();
        state.idle.clear();
        state.cleared += 1;
    }

    /// Drops those that do not answer any more.
    pub(crate) async fn check_health(&self) {
        let (idle, cleared) = {
            let mut state = self.state.lock();
            (std::mem::take(&mut state.idle), state.cleared)
        };
        for mut connection in idle {
            let answer: RedisResult<()> = redis::cmd("PING").query_async(&mut connection).await;
            if answer.is_ok() {
                self.put(Spare { connection, cleared });
            }
        }
    }
}
