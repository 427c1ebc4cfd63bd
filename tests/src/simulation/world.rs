//! The world that all that take part in a run share.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use amqp_client::Error;
use tokio::time::timeout;

use super::{
    account::Account, lives::Lives, network::Network, scenario::Scenario, topology::Topology, transcript::Log,
};

/// Longer than any wait may take: every call and every confirm has a deadline of its own, or ends
/// with a connection whose heartbeats bound it.
const ENDLESS: Duration = Duration::from_secs(2 * 3600);

/// The heartbeats of connections that are disturbed.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(10);

/// The world that all that take part in a run share. Clones are handles of the same.
#[derive(Clone)]
pub(super) struct World {
    pub(super) seed: u64,
    /// Set when nothing may fail.
    pub(super) is_calm: bool,
    /// Set when all publishes are mandatory.
    pub(super) is_mandatory: bool,
    /// Set when publishes may get no outcome.
    pub(super) swallows: bool,
    pub(super) lives: Lives,
    pub(super) network: Network,
    pub(super) account: Account,
    pub(super) topology: Topology,
    pub(super) log: Log,
    serials: Arc<AtomicU64>,
}

impl World {
    pub(super) fn new(scenario: &Scenario, lives: Lives, network: Network, log: Log) -> Self {
        World {
            seed: scenario.seed,
            is_calm: scenario.is_calm(),
            is_mandatory: scenario.must_be_mandatory(),
            swallows: scenario.swallows(),
            lives,
            network,
            account: Account::new(log.clone()),
            topology: Topology::shared(),
            log,
            serials: Arc::default(),
        }
    }

    /// The heartbeats of a client. Where nothing is disturbed there are none, because they would
    /// make up for a wakeup that is lost.
    pub(super) fn heartbeat(&self) -> Duration {
        if self.is_calm { Duration::ZERO } else { HEARTBEAT }
    }

    /// A number that nothing else in the run has.
    pub(super) fn serial(&self) -> u64 {
        self.serials.fetch_add(1, Ordering::Relaxed)
    }

    /// Awaits something that must end.
    pub(super) async fn ends<T>(&self, what: &str, future: impl Future<Output = T>) -> Option<T> {
        let ended = timeout(ENDLESS, future).await.ok();
        if ended.is_none() {
            self.log.violation(format!("{what} does not end"));
        }
        ended
    }

    /// Awaits a call that must end, and may fail only for what happens in this run.
    pub(super) async fn call<T>(
        &self,
        what: &str,
        call: impl Future<Output = Result<T, Error>>,
    ) -> Option<T> {
        match self.ends(what, call).await? {
            Ok(value) => Some(value),
            Err(error) => {
                self.failed(what, &error);
                None
            }
        }
    }

    /// Notes an error.
    pub(super) fn failed(&self, what: &str, error: &Error) {
        let text = amqp_client::Report(error).to_string();
        if self.is_calm && !is_own_end(error) || is_breach(error) {
            self.log.violation(format!("{what}: {text}"));
        } else {
            self.log.add(format_args!("{what}: {text}"));
        }
    }
}

/// Tells whether an error says that either side has broken the protocol.
fn is_breach(error: &Error) -> bool {
    match error {
        Error::Protocol { .. } | Error::UnexpectedMethod { .. } => true,
        // The disturbances close with 320 and 406 only.
        Error::ConnectionClosed(close) => close.code.0 != 320,
        Error::ChannelClosed { close, .. } => close.code.0 != 406,
        Error::PublishLost(error) => is_breach(error),
        _ => false,
    }
}

/// Tells whether an error says that this side has ended what it used.
fn is_own_end(error: &Error) -> bool {
    match error {
        Error::ChannelEnded { .. } | Error::ConnectionEnded => true,
        Error::PublishLost(error) => is_own_end(error),
        _ => false,
    }
}
