//! The state that all clients of a run share: their counts, and their end.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use messaging::{Error, Outcome, Undelivered};
use tokio::time::timeout;

use super::{
    account::{Account, Fate},
    calls::Calls,
    continuity::Continuity,
};

/// The heartbeats of all connections: a peer that is silent for twice as long is taken for gone.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(5);

/// The state that all clients share. Clones are handles of the same.
#[derive(Clone)]
pub(super) struct Load {
    pub(super) direct: Arc<Account>,
    pub(super) tasks: Arc<Account>,
    pub(super) notifications: Arc<Account>,
    /// The calls whose queues are quorum queues, and those whose queues are RPC's usual ones.
    pub(super) calls: Arc<Calls>,
    pub(super) usual_calls: Arc<Calls>,
    pub(super) continuity: Continuity,
    pub(super) reconnects: Arc<AtomicU64>,
    is_over: Arc<AtomicBool>,
}

impl Load {
    pub(super) fn new() -> Self {
        Load {
            direct: Arc::new(Account::new("amqp-client")),
            tasks: Arc::new(Account::new("messaging")),
            notifications: Arc::new(Account::new("notifications")),
            calls: Arc::new(Calls::new("calls, quorum queues")),
            usual_calls: Arc::new(Calls::new("calls, usual queues")),
            continuity: Continuity::default(),
            reconnects: Arc::default(),
            is_over: Arc::default(),
        }
    }

    /// The accounts of all messages.
    pub(super) fn accounts(&self) -> [&Account; 3] {
        [&self.direct, &self.tasks, &self.notifications]
    }

    /// The accounts of all calls.
    pub(super) fn all_calls(&self) -> [&Calls; 2] {
        [&self.calls, &self.usual_calls]
    }

    /// Tells those that publish and call to end.
    pub(super) fn end(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    pub(super) fn add_reconnects(&self, count: u64) {
        self.reconnects.fetch_add(count, Ordering::Relaxed);
    }
}

/// Awaits what must end by a deadline, and notes it if it does not.
pub(super) async fn ends<T>(
    account: &Account,
    what: &str,
    deadline: Duration,
    waiting: impl Future<Output = T>,
) -> Option<T> {
    let ended = timeout(deadline, waiting).await.ok();
    if ended.is_none() {
        account.wrong(format!("{what} has not ended after {} s", deadline.as_secs()));
    }
    ended
}

/// The known fate of a message that messaging has published, or given up.
pub(super) fn fate<T>(result: &Result<T, Error>, is_again: bool) -> Fate {
    match result {
        Ok(_) if is_again => Fate::ConfirmedAgain,
        Ok(_) => Fate::Confirmed,
        Err(Error::Undelivered(undelivered)) => fate_of(undelivered),
        Err(_) => Fate::Unknown,
    }
}

fn fate_of(undelivered: &Undelivered) -> Fate {
    match undelivered.outcome {
        Outcome::NotSent | Outcome::Unroutable => Fate::Refused,
        // A queue may have a message that another queue, or a node that goes down, has refused.
        _ => Fate::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_hangs_is_told() {
        let account = Account::new("tasks");
        let deadline = Duration::from_secs(40);
        assert_eq!(ends(&account, "a publish", deadline, async { 7 }).await, Some(7));
        assert_eq!(ends(&account, "a publish", deadline, pending::<()>()).await, None);
        assert_eq!(account.check(), ["tasks: a publish has not ended after 40 s"]);
    }
}
