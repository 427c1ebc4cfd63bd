//! Waiting for messages where Redis does not tell of changes.

use std::{collections::HashMap, sync::Arc, time::Duration};

use redis::{Value, aio::MultiplexedConnection};
use tokio::{sync::Notify, task::JoinHandle, time};

use crate::shown::shown;
use crate::{backend::BackendError, redis::hub::Hub};

/// How long Redis waits for a message, in seconds. Then the server and the need are looked at.
const WAIT: u64 = 10;

/// The pause after a connection that could not be opened.
const PAUSE: Duration = Duration::from_secs(1);

/// The connections that wait, with the second version of the protocol: one for each list of each
/// watched queue, because Redis can move the last message of a list to where it is (`BLMOVE`), but
/// not that of one of several.
#[derive(Debug)]
pub(super) struct Waiting {
    hub: Arc<Hub>,
    queues: HashMap<String, Vec<Waiter>>,
}

#[derive(Debug)]
struct Waiter {
    wanted: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Waiting {
    pub(super) fn new(hub: Arc<Hub>) -> Self {
        Waiting { hub, queues: HashMap::new() }
    }

    /// Waits for the next message of queues.
    pub(super) fn wait_for(&mut self, looks: &[(String, Vec<String>)]) {
        let watches = &self.hub.arrivals.watches;
        self.queues.retain(|queue, _| watches.is_armed(queue).is_some());
        for (queue, lists) in looks {
            let hub = &self.hub;
            let start = || lists.iter().map(|list| Waiter::start(hub, queue, list)).collect();
            let waiters = self.queues.entry(queue.clone()).or_insert_with(start);
            waiters.iter().for_each(|waiter| waiter.wanted.notify_one());
        }
    }
}

impl Waiter {
    fn start(hub: &Arc<Hub>, queue: &str, list: &str) -> Self {
        let wanted = Arc::new(Notify::new());
        let task = wait(Arc::clone(hub), queue.to_owned(), list.to_owned(), Arc::clone(&wanted));
        Waiter { wanted, task: tokio::spawn(task) }
    }
}

/// Wakes whoever watches a queue when it has messages, as often as that is wanted.
async fn wait(hub: Arc<Hub>, queue: String, list: String, wanted: Arc<Notify>) {
    let mut connection = None;
    while let Some(armed) = hub.arrivals.watches.is_armed(&queue) {
        if !armed {
            wanted.notified().await;
        }
        let waited = tokio::select! {
            waited = wait_once(&hub, &mut connection, &list) => waited,
            // A connection that waits cannot log in again. Another takes its place.
            () = hub.dialer().login_renewed() => {
                connection = None;
                continue;
            }
        };
        match waited {
            Ok(true) => hub.arrivals.watches.wake(&queue),
            Ok(false) => {}
            Err(error) => {
                tracing::warn!(%error, queue = shown(&queue), "cannot wait for messages in Redis, and tries again");
                connection = None;
                time::sleep(PAUSE).await;
            }
        }
    }
}

/// Waits for a message, and leaves it where it is.
async fn wait_once(
    hub: &Hub,
    connection: &mut Option<MultiplexedConnection>,
    list: &str,
) -> Result<bool, BackendError> {
    let connection = match connection {
        Some(connection) => connection,
        none => none.insert(hub.waiting_connection(Duration::from_secs(WAIT)).await?),
    };
    let mut command = redis::cmd("BLMOVE");
    command.arg(list).arg(list).arg("RIGHT").arg("RIGHT").arg(WAIT);
    let moved: Value = Hub::understood(command.query_async(connection).await)?;
    Ok(moved != Value::Nil)
}
