//! The task of one connection, which drives it and recovers it after a loss.

use std::{
    future::{Future, pending, poll_fn},
    pin::pin,
    sync::{Arc, Weak},
    time::Duration,
};

use amqp_codec::{ReplyCode, Report};
use tokio::time::{Instant, sleep};
use tracing::{Instrument as _, info};

use crate::{
    connect::{
        dial::dialer::{Dialed, Dialer, is_final},
        recovery::Recovery,
    },
    error::Error,
    recovery::restore::Restorer,
    runtime::{answers::Answers, handles::ConnectionHandle, secret::Refresh, shared::Shared},
};

pub(crate) struct ConnectionTask {
    pub(crate) shared: Arc<Shared>,
    /// A weak reference, because the connection is closed when its last owner is dropped.
    pub(crate) handle: Weak<ConnectionHandle>,
    pub(crate) dialer: Dialer,
}

/// How many losses in a row were caused by an error that either side reported, each soon after the
/// connection was restored. The cause, such as the message at the head of a queue, is then likely
/// to be still there.
#[derive(Default)]
struct Relapses(u32);

/// The attempts in a row since the connection last worked.
struct Attempts {
    made: u32,
    since: Instant,
    last: Error,
}

impl ConnectionTask {
    /// Runs until the connection has ended for good.
    pub(crate) async fn run(self, mut dialed: Dialed) {
        let mut attempts: Option<Attempts> = None;
        let mut relapses = Relapses::default();
        loop {
            let begun = Instant::now();
            let made = attempts.as_ref().map_or(0, |attempts| attempts.made);
            let is_in_order = self.attend(dialed, made).await;
            let Some(recovery) = &self.dialer.options.recovery else { return };
            if is_in_order {
                attempts = None;
            }
            if self.shared.with(|engine| engine.is_ended()) {
                return;
            }
            let last = self.shared.with(|engine| engine.loss());
            if is_in_order {
                relapses.count(&last, begun.elapsed() < recovery.backoff.longest());
            }
            let attempts = attempts.get_or_insert(Attempts { made: 0, since: Instant::now(), last });
            match self.shared.unless_ended(self.reconnect(recovery, attempts, &relapses)).await {
                Some(Ok(next)) => dialed = next,
                Some(Err(error)) => {
                    return self.shared.with(|engine| engine.give_up(&error));
                }
                None => return,
            }
        }
    }

    /// Drives an open connection to its end. Returns whether it was fully restored before.
    async fn attend(&self, dialed: Dialed, attempts: u32) -> bool {
        let Dialed { driver, valid_for } = dialed;
        let mut refreshing = pin!(self.refresh(valid_for));
        let mut restoring = pin!(self.restore(attempts));
        let mut driving = pin!(driver.run());
        let restored = self.shared.restored();
        poll_fn(|cx| {
            let _ = refreshing.as_mut().poll(cx);
            let _ = restoring.as_mut().poll(cx);
            driving.as_mut().poll(cx)
        })
        .await;
        attempts == 0 || self.shared.restored() > restored
    }

    async fn refresh(&self, valid_for: Option<Duration>) {
        let options = &self.dialer.options;
        if let (Some(provider), Some(valid_for)) = (&options.credentials, valid_for) {
            let refresh = Refresh::new(self.shared.clone(), provider.clone(), options.call_timeout);
            refresh.run(valid_for).instrument(self.shared.trace.connection()).await;
        }
        pending::<()>().await;
    }

    async fn restore(&self, attempts: u32) {
        let options = &self.dialer.options;
        if let Some(recovery) = &options.recovery {
            let restorer = Restorer {
                answers: Answers { shared: &self.shared, patience: options.call_timeout },
                handle: &self.handle,
                setup: recovery.setup.as_ref(),
                attempts,
                patience: recovery.wait_for_release,
            };
            restorer.run().await;
        }
        pending::<()>().await;
    }

    /// Makes attempts until there is a connection, the limits are reached, or an error is final.
    async fn reconnect(
        &self,
        recovery: &Recovery,
        attempts: &mut Attempts,
        relapses: &Relapses,
    ) -> Result<Dialed, Error> {
        loop {
            let elapsed = attempts.since.elapsed();
            if !recovery.goes_on(attempts.made, elapsed) {
                let (attempts, last) = (attempts.made, Box::new(attempts.last.clone()));
                return Err(Error::NotRecovered { attempts, elapsed, last });
            }
            attempts.made += 1;
            let delay = recovery.backoff.pause(attempts.made.saturating_add(relapses.0));
            self.shared.with(|engine| engine.tell_reconnecting(attempts.made, delay));
            sleep(delay).await;
            match self.dialer.dial(&self.shared).await {
                Ok(dialed) => return Ok(dialed),
                Err(error) if is_final(&error) => return Err(error),
                Err(error) => {
                    self.shared.with(|engine| engine.tell_not_connected(attempts.made, error.clone()));
                    attempts.last = error;
                }
            }
        }
    }
}

impl Relapses {
    /// Counts a loss of a connection that had worked, however briefly.
    fn count(&mut self, reason: &Error, is_soon: bool) {
        let is_for_an_error = match reason {
            Error::Protocol { .. } | Error::UnexpectedMethod { .. } => true,
            Error::ConnectionClosed(close) => close.code != ReplyCode::CONNECTION_FORCED,
            _ => false,
        };
        self.0 = if is_for_an_error && is_soon { self.0.saturating_add(1) } else { 0 };
    }
}

/// Connects for the first time, repeatedly if the options say so.
pub(crate) async fn first_connect(dialer: &Dialer, shared: &Arc<Shared>) -> Result<Dialed, Error> {
    let recovery = dialer.options.recovery.as_ref().filter(|recovery| recovery.first_connect);
    let begun = Instant::now();
    let mut attempts = 0;
    loop {
        let error = match dialer.dial(shared).await {
            Ok(dialed) => return Ok(dialed),
            Err(error) => error,
        };
        attempts += 1;
        let Some(recovery) = recovery.filter(|_| !is_final(&error)) else { return Err(error) };
        let elapsed = begun.elapsed();
        if !recovery.goes_on(attempts, elapsed) {
            return Err(Error::NotRecovered { attempts, elapsed, last: Box::new(error) });
        }
        let delay = recovery.backoff.pause(attempts);
        info!(attempt = attempts, error = %Report(&error), ?delay, "cannot connect yet; the next attempt follows after the delay");
        sleep(delay).await;
    }
}
