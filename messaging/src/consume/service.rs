//! The common part of workers, servers and listeners: they consume until they are stopped, and
//! handle many messages at once.

use std::{future::poll_fn, sync::Arc, task::Poll};

use amqp_client::{Delivery, Report};
use tokio::task::{JoinSet, coop::consume_budget};

use crate::{
    connection::history::History,
    consume::{
        consumer::RawConsumer,
        handlers::{
            inline_executor::InlineExecutor,
            permits::{Permit, Permits},
        },
        source::Source,
    },
    error::Error,
    sync::{Mutex, watch},
};

/// A running service.
///
/// # On drop
/// Its tasks are aborted; messages that are not settled go back to their queues.
pub(crate) struct Service {
    stop: watch::Sender<bool>,
    consumers: JoinSet<()>,
    ended: Ended,
    progress: Progress,
}

/// The status of a service, seen from elsewhere.
#[derive(Clone)]
pub(crate) struct Progress {
    stop: watch::Sender<bool>,
    permits: Arc<Permits>,
    /// Since when its first source is consumed from, or is not.
    history: Arc<Mutex<History>>,
}

/// The reason why the first source ended that ended for good.
type Ended = Arc<Mutex<Option<Error>>>;

/// Stops a service from elsewhere. Cloning is cheap; dropping it changes nothing.
#[cfg(any(feature = "oslo", feature = "mailbox"))]
#[cfg_attr(not(feature = "oslo"), allow(unreachable_pub, reason = "only RPC and notifications export it"))]
#[derive(Clone, Debug)]
pub struct Stopper(watch::Sender<bool>);

#[cfg(any(feature = "oslo", feature = "mailbox"))]
impl Stopper {
    /// Makes the service take no more messages and finish those in progress. This does not wait for
    /// it.
    #[cfg_attr(
        not(feature = "oslo"),
        allow(unreachable_pub, reason = "only RPC and notifications export it")
    )]
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

impl Service {
    /// Consumes from all sources, and passes each message to `handle`, at most `concurrency` at
    /// once. `handle` returns its permit so that the next message can reuse it. Each source has an
    /// `executor` of its own.
    ///
    /// # Errors
    /// When one of the sources cannot be consumed from at the start. Later failures are retried
    /// until the service stops, unless retrying is useless: the user may no longer consume, or the
    /// queue belongs to another connection.
    pub(crate) async fn start<H, Fut>(
        sources: Vec<Source>,
        concurrency: usize,
        executor: fn() -> InlineExecutor<Fut>,
        handle: H,
    ) -> Result<Self, Error>
    where
        H: FnOnce(Delivery, Permit) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Permit> + Send + 'static,
    {
        let (stop, stopping) = watch::channel(false);
        Service::start_with(sources, stop, Permits::new(concurrency, stopping), executor, handle).await
    }

    /// Does the same with room for so many messages that are held without a permit.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    #[cfg(feature = "mailbox")]
    pub(crate) async fn start_holding<H, Fut>(
        source: Source,
        (concurrency, most_held): (usize, usize),
        executor: fn() -> InlineExecutor<Fut>,
        handle: H,
    ) -> Result<Self, Error>
    where
        H: FnOnce(Delivery, Permit) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Permit> + Send + 'static,
    {
        let (stop, stopping) = watch::channel(false);
        let permits = Permits::holding(concurrency, most_held, stopping);
        Service::start_with(vec![source], stop, permits, executor, handle).await
    }

    async fn start_with<H, Fut>(
        sources: Vec<Source>,
        stop: watch::Sender<bool>,
        permits: Permits,
        executor: fn() -> InlineExecutor<Fut>,
        handle: H,
    ) -> Result<Self, Error>
    where
        H: FnOnce(Delivery, Permit) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Permit> + Send + 'static,
    {
        let permits = Arc::new(permits);
        let mut started = Vec::with_capacity(sources.len());
        for mut source in sources {
            let raw = source.start_first().await?;
            started.push((source, raw));
        }
        let mut consumers = JoinSet::new();
        let ended = Ended::default();
        let mut first = None;
        for (source, raw) in started {
            let (permits, handle, ended) = (permits.clone(), handle.clone(), ended.clone());
            let history = Arc::new(Mutex::new(History::default()));
            history.lock().connected();
            first.get_or_insert_with(|| history.clone());
            let going = Loop { source, permits, handle, ended, history };
            consumers.spawn(async move { going.run(raw, executor()).await });
        }
        let progress = Progress { stop: stop.clone(), permits, history: first.unwrap_or_default() };
        Ok(Service { stop, consumers, ended, progress })
    }

    /// Stops consuming, and waits for the messages that are being worked on.
    pub(crate) async fn stop(mut self) {
        self.stop.send_replace(true);
        // The reason why a source ended has been logged, and does not prevent the stop.
        let _ = self.wait().await;
    }

    /// Waits until the service was stopped or cannot continue, and no message is in progress any
    /// more. It can be dropped, and called again.
    ///
    /// # Errors
    /// The reason why a source could not continue. It is returned once.
    pub(crate) async fn wait(&mut self) -> Result<(), Error> {
        while self.consumers.join_next().await.is_some() {}
        self.ended.lock().take().map_or(Ok(()), Err)
    }

    /// Returns what tells of it from elsewhere.
    pub(crate) fn progress(&self) -> Progress {
        self.progress.clone()
    }

    /// Returns a handle that stops the service from elsewhere.
    #[cfg(any(feature = "oslo", feature = "mailbox"))]
    pub(crate) fn stopper(&self) -> Stopper {
        Stopper(self.stop.clone())
    }
}

impl Progress {
    pub(crate) fn history(&self) -> History {
        self.history.lock().clone()
    }

    /// Returns how many messages are handled now, and how many are kept because they cannot be
    /// moved where they belong.
    pub(crate) fn in_flight(&self) -> (usize, usize) {
        (self.permits.in_use(), self.permits.held().count())
    }

    /// Tells whether the service is to stop, or has stopped.
    pub(crate) fn is_stopping(&self) -> bool {
        *self.stop.borrow()
    }
}

/// The task of one source.
struct Loop<H> {
    source: Source,
    permits: Arc<Permits>,
    /// The handler; it is cloned for each message.
    handle: H,
    ended: Ended,
    history: Arc<Mutex<History>>,
}

impl<H, Fut> Loop<H>
where
    H: FnOnce(Delivery, Permit) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Permit> + Send + 'static,
{
    async fn run(mut self, mut raw: RawConsumer, mut working: InlineExecutor<Fut>) {
        let mut stopping = self.permits.stopping();
        loop {
            let end = tokio::select! {
                () = stopping.requested() => break,
                end = consume((&mut self.source, &mut raw), &self.permits, &mut working, &self.handle) => end,
            };
            let is_for_good = end.is_for_good();
            let error = end.error;
            self.history.lock().lost(&error);
            let restarted = if is_for_good {
                Err(error)
            } else {
                self.source.log_end(&error);
                self.source.ended(&error);
                tokio::select! {
                    () = stopping.requested() => Err(Error::Closed),
                    restarted = self.source.start_again() => restarted,
                }
            };
            match restarted {
                Ok(started) => {
                    raw = started;
                    self.history.lock().connected();
                    self.permits.held().begun_anew();
                }
                Err(reason) => {
                    working.finish().await;
                    return self.gave_up(reason);
                }
            }
        }
        working.finish().await;
        // The channel is closed only now, because the last handlers acknowledged on it.
        if let Err(error) = raw.close().await {
            tracing::debug!(error = %Report(&error), "the consumer's channel could not be closed");
        }
    }

    /// Records why the source does not go on. It is not worth an error that the service was stopped
    /// or its transport closed.
    fn gave_up(&self, reason: Error) {
        if !matches!(reason, Error::Closed) {
            let queue = self.source.queue_name();
            tracing::error!(queue, error = %Report(&reason), "consuming from the queue ended; the consumer does not restart");
            self.ended.lock().get_or_insert(reason);
        }
    }
}

/// The reason why a consumer ended.
struct End {
    error: Error,
    /// Whether it ended while it was being replaced.
    of_renewal: bool,
}

impl End {
    /// Whether consuming is not to be retried. A queue that this consumer had, and that another one
    /// took while this one was being replaced, is waited for as after a lost connection.
    fn is_for_good(&self) -> bool {
        self.error.ends_consuming() && !(self.of_renewal && self.error.is_of_taken_queue())
    }
}

/// Consumes until the consumer ends, and returns why it did.
async fn consume<H, Fut>(
    (source, raw): (&mut Source, &mut RawConsumer),
    permits: &Arc<Permits>,
    working: &mut InlineExecutor<Fut>,
    handle: &H,
) -> End
where
    H: FnOnce(Delivery, Permit) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Permit> + Send + 'static,
{
    // The permit of the previous message, if that one is done.
    let mut spare: Option<Permit> = None;
    loop {
        let next = match poll_fn(|cx| Poll::Ready(raw.poll_next(cx))).await {
            Poll::Ready(next) => next,
            Poll::Pending => {
                // An idle queue holds no permit.
                spare = None;
                tokio::select! {
                    next = raw.recv() => next,
                    () = permits.held().crowded() => match raw.renew(source.next()).await {
                        Ok(()) => {
                            permits.held().begun_anew();
                            continue;
                        }
                        Err(error) => return End { error, of_renewal: true },
                    },
                }
            }
        };
        let delivery = match next {
            Ok(delivery) => delivery,
            Err(error) => return End { error, of_renewal: false },
        };
        source.read(&delivery);
        let permit = match spare.take().filter(Permit::is_to_spare) {
            Some(permit) => permit,
            None => permits.permit().await,
        };
        let handle = handle.clone();
        spare = working.begin(move || handle(delivery, permit)).await;
        // Other tasks, and the request to stop, get their turn even while messages keep coming.
        consume_budget().await;
    }
}
