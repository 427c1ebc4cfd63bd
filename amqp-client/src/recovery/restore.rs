//! Restoring a connection: topology, channels, consumers, in this order.

use std::{
    collections::BTreeMap,
    future::{Future as _, poll_fn},
    pin::pin,
    sync::{Arc, Weak},
    task::Poll,
    time::Duration,
};

use amqp_codec::Report;
use tracing::warn;

use crate::{
    channel::Channel,
    connect::recovery::Setup,
    error::{Error, Result},
    event::{Recovered, Skipped},
    proto::{
        connection::{ChannelKey, Engine, wait::WaitFor},
        consuming::subscription::Subscription,
    },
    recovery::{
        holding::{Holding, name_consumer},
        redeclare::Redeclaration,
    },
    runtime::{
        answers::Answers,
        handles::{ChannelHandle, ConnectionHandle},
        waiting::Waiting,
    },
};

pub(crate) struct Restorer<'a> {
    pub(crate) answers: Answers<'a>,
    pub(crate) handle: &'a Weak<ConnectionHandle>,
    pub(crate) setup: Option<&'a Setup>,
    /// How many attempts it took to get this connection.
    pub(crate) attempts: u32,
    /// How long to wait for what the broker reserves for the lost connection.
    pub(crate) patience: Duration,
}

/// A channel that has been reopened.
struct Opened {
    key: ChannelKey,
    /// The consumers that have not been restarted yet.
    subscriptions: Vec<Subscription>,
    /// How many consumers have been restarted.
    begun: usize,
}

impl Restorer<'_> {
    /// Restores whatever is lost, for as long as it is polled.
    pub(crate) async fn run(&self) {
        let mut holding = Holding::new(self.answers, self.patience);
        loop {
            let is_due = self.is_due(&holding).await;
            let restored = if is_due {
                holding.attempt().await
            } else if self.answers.shared.with(|engine| engine.is_restoring()) {
                self.connection(&mut holding).await
            } else {
                self.lost_channels().await
            };
            if let Err(error) = restored {
                warn!(error = %Report(&error), "the connection could not be restored; the client connects again");
                self.answers.shared.with(|engine| engine.abandon_transport(&error));
            }
        }
    }

    /// Waits until something is lost (`false`), or until it is time to try reserved queues and
    /// consumers again (`true`).
    async fn is_due(&self, holding: &Holding<'_>) -> bool {
        let mut waiting = Waiting::new(self.answers.shared);
        let mut due = pin!(holding.due());
        poll_fn(|cx| {
            match waiting.poll_for(cx, WaitFor::State, |engine| engine.has_lost_channels().then_some(false)) {
                Poll::Pending => due.as_mut().poll(cx).map(|()| true),
                lost => lost,
            }
        })
        .await
    }

    /// Restores the whole connection.
    ///
    /// # Errors
    /// If the connection was lost again, does not answer, or the user's own setup failed.
    async fn connection(&self, holding: &mut Holding<'_>) -> Result<()> {
        let mut report = Recovered { attempts: self.attempts, ..Default::default() };
        match self.setup {
            Some(setup) => self.set_up(setup).await?,
            None => self.topology(holding, &mut report).await?,
        }
        let lost = self.answers.shared.with(|engine| engine.lost_channels());
        self.channels(lost, &mut report, Some(holding)).await?;
        report.held = holding.report();
        self.answers.shared.with(|engine| engine.restored(report));
        holding.plan();
        Ok(())
    }

    async fn topology(&self, holding: &mut Holding<'_>, report: &mut Recovered) -> Result<()> {
        let mut redeclaration = Redeclaration::new(self.answers);
        redeclaration.restore(report).await?;
        for (queue, error) in std::mem::take(&mut redeclaration.locked) {
            if self.patience.is_zero() {
                let what = format!("queue {:?}", queue.declare.queue.to_string());
                report.skipped.push(Skipped { what, error });
            } else {
                holding.keep_queue(queue, error);
            }
        }
        Ok(())
    }

    async fn set_up(&self, setup: &Setup) -> Result<()> {
        let Some(connection) = self.handle.upgrade() else { return Err(Error::ConnectionEnded) };
        let (key, status, call) = self.answers.shared.with(Engine::open_setup_channel)?;
        let handle = ChannelHandle { connection, key, status };
        self.answers.wait(self.answers.due(key, call)).await?;
        setup.run(Channel::new(Arc::new(handle))).await
    }

    /// Restores channels that the broker closed for an error, while the connection goes on.
    async fn lost_channels(&self) -> Result<()> {
        let lost = self.answers.shared.with(|engine| engine.lost_channels());
        let causes: Vec<_> = lost.iter().filter_map(|&key| Some((key, self.cause_of_loss(key)?))).collect();
        self.channels(lost, &mut Recovered::default(), None).await?;
        for (key, cause) in causes {
            self.answers.shared.with(|engine| engine.tell_reopened(key, cause));
        }
        Ok(())
    }

    /// Restores all channels at once, step by step: opens them and sets their modes, then restarts
    /// their consumers.
    async fn channels(
        &self,
        lost: Vec<ChannelKey>,
        report: &mut Recovered,
        mut holding: Option<&mut Holding<'_>>,
    ) -> Result<()> {
        let mut to_open = lost;
        let mut opened = BTreeMap::new();
        while !to_open.is_empty() {
            for (key, subscriptions) in self.open(std::mem::take(&mut to_open), report).await? {
                opened.insert(key.id, Opened { key, subscriptions, begun: 0 });
            }
            to_open = self.consumers(&mut opened, report, holding.as_deref_mut()).await?;
        }
        for Opened { key, begun, .. } in opened.into_values() {
            report.channels += 1;
            report.consumers += begun;
            report.republished += self.answers.shared.with(|engine| engine.channel_restored(key));
        }
        Ok(())
    }

    async fn open(
        &self,
        lost: Vec<ChannelKey>,
        report: &mut Recovered,
    ) -> Result<Vec<(ChannelKey, Vec<Subscription>)>> {
        let mut opening = Vec::new();
        for key in lost {
            match self.answers.shared.with(|engine| engine.reopen_channel(key)) {
                Ok((calls, subscriptions)) => {
                    let calls: Vec<_> = calls.into_iter().map(|call| self.answers.due(key, call)).collect();
                    opening.push((key, calls, subscriptions));
                }
                Err(Error::ChannelEnded { .. }) => {}
                Err(error) => self.skip_channel(key, error, report)?,
            }
        }
        let mut opened = Vec::new();
        for (key, calls, subscriptions) in opening {
            match self.answers.wait_for_all(calls).await {
                Ok(()) => opened.push((key, subscriptions)),
                Err(error) => self.skip_channel(key, error, report)?,
            }
        }
        Ok(opened)
    }

    /// Ends a channel that cannot be restored. An error of the whole connection is returned
    /// instead.
    fn skip_channel(&self, key: ChannelKey, error: Error, report: &mut Recovered) -> Result<()> {
        if !error.is_channel_error() {
            return Err(error);
        }
        self.answers.shared.with(|engine| engine.end_channel(key, &error));
        report.skipped.push(Skipped { what: format!("channel {}", key.id), error });
        Ok(())
    }

    /// Restarts the next consumer of each channel, until all are done. A refusal closes the
    /// channel: those channels are returned, to be reopened without the refused consumer.
    async fn consumers(
        &self,
        opened: &mut BTreeMap<u16, Opened>,
        report: &mut Recovered,
        mut holding: Option<&mut Holding<'_>>,
    ) -> Result<Vec<ChannelKey>> {
        let mut closed = Vec::new();
        loop {
            let mut beginning = Vec::new();
            for Opened { key, subscriptions, .. } in opened.values_mut() {
                if let Some(subscription) = subscriptions.pop() {
                    let tag = subscription.tag();
                    match self.answers.shared.with(|engine| engine.channel(*key)?.resume_consumer(tag)) {
                        Ok(Some(call)) => beginning.push((*key, subscription, self.answers.due(*key, call))),
                        // The user has closed the channel or dropped the consumer meanwhile.
                        Ok(None) | Err(Error::ChannelEnded { .. }) => {}
                        Err(error) => return Err(error),
                    }
                }
            }
            if beginning.is_empty() {
                return Ok(closed);
            }
            for (key, subscription, waiting) in beginning {
                match self.answers.wait(waiting).await {
                    Ok(_) => {
                        if let Some(opened) = opened.get_mut(&key.id) {
                            opened.begun += 1;
                        }
                    }
                    Err(error) if error.is_channel_error() => {
                        opened.remove(&key.id);
                        match holding.as_deref_mut() {
                            Some(holding) if holding.may_keep_consumer(&subscription, &error) => {
                                holding.keep_consumer(key, subscription, error);
                            }
                            _ => self.fail(key, &subscription, error, report),
                        }
                        if self.cause_of_loss(key).is_some() {
                            closed.push(key);
                        }
                    }
                    Err(error) => return Err(error),
                }
            }
        }
    }

    /// Returns why a channel is to be reopened, if it is.
    fn cause_of_loss(&self, key: ChannelKey) -> Option<Error> {
        self.answers.shared.with(|engine| engine.channel(key).ok()?.lost_for().cloned())
    }

    fn fail(&self, key: ChannelKey, subscription: &Subscription, error: Error, report: &mut Recovered) {
        let tag = subscription.tag();
        let what = name_consumer(tag, &subscription.consume.queue);
        warn!(error = %Report(&error), what, "a consumer cannot be restarted; it ends with this error");
        self.answers.shared.with(|engine| engine.fail_consumer(key, tag, error.clone()));
        report.skipped.push(Skipped { what, error });
    }
}
