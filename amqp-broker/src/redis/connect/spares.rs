//! Connections for commands that wait in Redis and would hold up whatever else is sent on theirs.

use std::sync::Arc;

use redis::{RedisResult, aio::MultiplexedConnection};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::backend::BackendError;
use crate::sync::Mutex;

/// Idle connections. Each is used by one at a time, who takes it out meanwhile.
#[derive(Debug)]
pub(crate) struct Spares {
    state: Mutex<State>,
    /// The number of those that may still be out.
    left: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct State {
    idle: Vec<MultiplexedConnection>,
    /// The number of times that all were dropped. One that was out meanwhile is not put back.
    cleared: u64,
}

/// A connection that is out.
pub(crate) struct Spare {
    pub(crate) connection: MultiplexedConnection,
    cleared: u64,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Spares {
    /// There are so many at most, but one at least.
    pub(crate) fn new(most: u32) -> Self {
        let most = (most.max(1) as usize).min(Semaphore::MAX_PERMITS);
        Spares { state: Mutex::default(), left: Arc::new(Semaphore::new(most)) }
    }

    /// Takes one out, as soon as one may be: an idle one, or a new one by `open`.
    pub(crate) async fn take(
        &self,
        open: impl Future<Output = Result<MultiplexedConnection, BackendError>>,
    ) -> Result<Spare, BackendError> {
        let permit = Arc::clone(&self.left).acquire_owned().await.ok();
        let (idle, cleared) = {
            let mut state = self.state.lock();
            (state.idle.pop(), state.cleared)
        };
        let connection = match idle {
            Some(connection) => connection,
            None => open.await?,
        };
        Ok(Spare { connection, cleared, _permit: permit })
    }

    /// Puts one back that has answered all.
    pub(crate) fn put(&self, Spare { connection, cleared, .. }: Spare) {
        let mut state = self.state.lock();
        if state.cleared == cleared {
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
        let idle = self.state.lock().idle.len();
        for _ in 0..idle {
            let Ok(permit) = Arc::clone(&self.left).try_acquire_owned() else { return };
            let (oldest, cleared) = {
                let mut state = self.state.lock();
                // One that is used now answers, or is dropped by who uses it.
                let oldest = (!state.idle.is_empty()).then(|| state.idle.remove(0));
                (oldest, state.cleared)
            };
            let Some(mut connection) = oldest else { return };
            let answer: RedisResult<()> = redis::cmd("PING").query_async(&mut connection).await;
            if answer.is_ok() {
                self.put(Spare { connection, cleared, _permit: Some(permit) });
            }
        }
    }
}
