//! What runs beside the links of a hub.

use std::{sync::Arc, time::Duration};

use tokio::{
    task::JoinHandle,
    time::{self, Instant},
};

use super::waiting::Waiting;
use crate::{
    backend::BackendError,
    redis::{
        claims::{Unroutable, lock_lifetime, renew_claims, restore_once},
        hub::Hub,
        owners::{LEASE_EVERY, renew_lease},
        publish::Mover,
        topology,
    },
};

/// The time between two looks for queues of those who are gone, and the pause after a failure.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// The shortest period of anything here, whatever the options say.
const SHORTEST: Duration = Duration::from_millis(10);

/// The most queues that are looked at together.
const MOST_LOOKS: usize = 200;

/// The tasks of a hub. They end when this is dropped.
#[derive(Debug)]
pub(super) struct Tasks(Vec<JoinHandle<()>>);

impl Drop for Tasks {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

impl Tasks {
    /// Starts the tasks of a hub.
    pub(super) fn start(hub: &Arc<Hub>) -> Self {
        Tasks(vec![
            tokio::spawn(arm(Arc::clone(hub))),
            tokio::spawn(look(Arc::clone(hub))),
            tokio::spawn(hold(Arc::clone(hub))),
            tokio::spawn(restore(Arc::clone(hub))),
            tokio::spawn(renew(Arc::clone(hub))),
            tokio::spawn(keep_lease(Arc::clone(hub))),
            tokio::spawn(sweep(Arc::clone(hub))),
            tokio::spawn(move_due(Arc::clone(hub))),
            tokio::spawn(reauthenticate(Arc::clone(hub))),
            tokio::spawn(listen(Arc::clone(hub))),
        ])
    }
}

/// Takes what arrives on channels.
async fn listen(hub: Arc<Hub>) {
    hub.listen().await;
}

/// Looks at queues that links found too little in, so that their next change is noticed.
async fn arm(hub: Arc<Hub>) {
    let mut waiting = Waiting::new(Arc::clone(&hub));
    loop {
        let looks = hub.arrivals.watches.next().await;
        if !hub.dialer().resp3() {
            waiting.wait_for(&looks);
        }
        if look_at(&hub, looks).await.is_err() {
            return;
        }
    }
}

/// Looks at all queues, in case that a notice of Redis was lost, and tries all connections. The
/// first look comes at a random time, so that many gateways do not look together.
async fn look(hub: Arc<Hub>) {
    let (every, health) = (hub.options.periods.look, hub.options.health_check_interval);
    let period = if health.is_zero() { every } else { every.min(health) };
    time::sleep(spread(period)).await;
    let mut ticks = time::interval(period.max(SHORTEST));
    loop {
        ticks.tick().await;
        if look_at(&hub, hub.arrivals.watches.armed()).await.is_err() || hub.check_health().await.is_err() {
            return;
        }
    }
}

/// A time up to this one, at least half of it, which differs between processes.
fn spread(most: Duration) -> Duration {
    let spread = u64::from(std::process::id()) * 7919 % 1000;
    most.mul_f64(0.5 + Duration::from_millis(spread).as_secs_f64() / 2.0)
}

async fn look_at(hub: &Hub, looks: Vec<(String, Vec<String>)>) -> Result<(), BackendError> {
    for looks in looks.chunks(MOST_LOOKS) {
        let lists: Vec<_> = looks.iter().map(|(_, lists)| lists.clone()).collect();
        for ((queue, _), found) in looks.iter().zip(hub.look(&lists).await?) {
            if found {
                hub.arrivals.watches.wake(queue);
            }
        }
    }
    Ok(())
}

/// Renews claims while their messages are processed.
async fn hold(hub: Arc<Hub>) {
    let mut ticks = time::interval((hub.options.visibility_timeout / 3).max(SHORTEST));
    loop {
        ticks.tick().await;
        report(renew_claims(&hub).await, "renew claims");
    }
}

/// Returns messages whose claims have lapsed.
async fn restore(hub: Arc<Hub>) {
    let unroutable = Unroutable::default();
    let period = hub.options.restore_period().max(SHORTEST);
    loop {
        let restored = restore_once(&hub, &unroutable).await;
        // Whoever has the lock may have ended, and left it behind.
        let is_taken = matches!(restored, Ok(None));
        report(restored, "restore lapsed claims");
        time::sleep(if is_taken { period.min(lock_lifetime(&hub.options)).max(SHORTEST) } else { period })
            .await;
    }
}

/// Renews bindings and declarations, and removes the bindings that nobody renews.
async fn renew(hub: Arc<Hub>) {
    let mut renewed = Instant::now();
    loop {
        time::sleep(hub.options.periods.sweep).await;
        // This comes first, so that ours are not removed.
        if renewed.elapsed() >= hub.options.periods.renew {
            let done = topology::renew(&hub).await;
            if done.is_ok() {
                renewed = Instant::now();
            }
            report(done, "renew bindings");
        }
        report(topology::sweep_bindings(&hub).await, "remove bindings that nobody renews");
    }
}

/// Shows others that this process is there, where they cannot see it otherwise.
async fn keep_lease(hub: Arc<Hub>) {
    loop {
        time::sleep(LEASE_EVERY).await;
        report(renew_lease(&hub).await, "renew the lease");
    }
}

/// Deletes the queues of those who are gone.
async fn sweep(hub: Arc<Hub>) {
    loop {
        time::sleep(spread(LOOK_EVERY)).await;
        report(topology::sweep_queues(&hub).await, "delete queues that nobody owns");
    }
}

/// Moves messages of retry queues that are due.
async fn move_due(hub: Arc<Hub>) {
    let mover = Mover::new(Arc::clone(&hub));
    loop {
        let moved = mover.turn().await;
        if moved.is_err() {
            report(moved, "move delayed messages");
            time::sleep(LOOK_EVERY).await;
        }
    }
}

/// Logs the connections in again when the credentials have changed.
async fn reauthenticate(hub: Arc<Hub>) {
    let Some(credentials) = hub.options.credentials.clone() else { return };
    let mut current = hub.dialer().login();
    loop {
        time::sleep(hub.options.reauth_check_interval.max(SHORTEST)).await;
        let login = credentials.login();
        if login != current {
            let authenticated = hub.authenticate(&login).await;
            if authenticated.is_ok() {
                current = login;
            }
            report(authenticated, "log in again");
        }
    }
}

/// Logs a failure that is tried again. That of a lost connection is logged already.
fn report<T>(result: Result<T, BackendError>, what: &str) {
    match result {
        Err(error) if !error.closes_connection() => tracing::warn!(%error, "cannot {what} in Redis"),
        _ => {}
    }
}
