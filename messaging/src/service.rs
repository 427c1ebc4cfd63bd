//! What workers, servers and listeners have in common: they consume for as long as they run, and work on many messages at once.

use std::{future::poll_fn, sync::Arc, task::Poll, time::Duration};

use amqp_client::Delivery;
use futures_util::FutureExt as _;
use tokio::{
    sync::watch,
    task::{JoinSet, coop::consume_budget},
};

use crate::{
    consumer::RawConsumer,
    error::Error,
    retry::{Retry, RetryPolicy},
    source::Source,
    turns::{Turn, Turns},
    work::Workplace,
};

/// Never gives up: somebody stops the service when it is to end.
const RESTART: RetryPolicy =
    RetryPolicy::exponential(Duration::from_millis(100), Duration::from_secs(10)).deadline(Duration::MAX);

/// A running service.
///
/// # On drop
/// Its tasks are aborted; messages that are not settled go back to their queues.
pub(crate) struct Service {
    stop: watch::Sender<bool>,
    consumers: JoinSet<()>,
}

/// Stops a service from wherever it is. Cloning is cheap; dropping it changes nothing.
#[derive(Clone, Debug)]
pub struct Stopper(watch::Sender<bool>);

impl Stopper {
    /// Has the service take nothing more and finish what it works on. This does not wait for it.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

impl Service {
    /// Consumes from all sources, and hands each message to `handle`, at most `concurrency` turns at once. What it is given it gives
    /// back when it is done, so that the next message can have the same turn. Each source has a `workplace` of its own.
    ///
    /// # Errors
    /// When one of them cannot be consumed from at the start. Later on it is tried again until the service stops.
    pub(crate) async fn start<H, Fut>(
        sources: Vec<Source>,
        concurrency: usize,
        workplace: fn() -> Workplace<Turn>,
        handle: H,
    ) -> Result<Self, Error>
    where
        H: FnOnce(Delivery, Turn) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Turn> + Send + 'static,
    {
        let (stop, stopping) = watch::channel(false);
        let turns = Arc::new(Turns::new(concurrency, stopping));
        let mut started = Vec::with_capacity(sources.len());
        for source in sources {
            let raw = source.start().await?;
            started.push((source, raw));
        }
        let mut consumers = JoinSet::new();
        for (source, raw) in started {
            let (turns, handle) = (turns.clone(), handle.clone());
            consumers.spawn(async move { Loop { source, turns, handle }.run(raw, workplace()).await });
        }
        Ok(Service { stop, consumers })
    }

    /// Stops consuming, and waits for the messages that are being worked on.
    pub(crate) async fn stop(mut self) {
        self.stop.send_replace(true);
        self.wait().await;
    }

    /// Waits until it was stopped and nothing is being worked on any more. It can be dropped, and called again.
    pub(crate) async fn wait(&mut self) {
        while self.consumers.join_next().await.is_some() {}
    }

    /// Who stops it from elsewhere.
    pub(crate) fn stopper(&self) -> Stopper {
        Stopper(self.stop.clone())
    }
}

/// One source's part.
struct Loop<H> {
    source: Source,
    turns: Arc<Turns>,
    /// A clone for each message.
    handle: H,
}

impl<H, Fut> Loop<H>
where
    H: FnOnce(Delivery, Turn) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Turn> + Send + 'static,
{
    async fn run(mut self, mut raw: RawConsumer, mut working: Workplace<Turn>) {
        let mut stopping = self.turns.stopping();
        loop {
            let error = tokio::select! {
                () = stopping.requested() => break,
                error = consume((&mut self.source, &mut raw), &self.turns, &mut working, &self.handle) => error,
            };
            tracing::warn!(queue = self.source.queue_name(), %error, "consuming ended; it is started again");
            self.source.ended(&error);
            match self.start_again().await {
                Some(started) => raw = started,
                None => return working.finish().await,
            }
        }
        working.finish().await;
        // Only now, so that the last acknowledgements had a channel to leave on.
        if let Err(error) = raw.close().await {
            tracing::debug!(%error, "the consumer's channel did not close in good order");
        }
    }

    /// `None` when the service is to stop.
    async fn start_again(&self) -> Option<RawConsumer> {
        let mut retry = Retry::start(RESTART);
        let mut stopping = self.turns.stopping();
        loop {
            retry.begin();
            let attempt = async {
                retry.pause().await;
                self.source.start().await
            };
            match tokio::select! { () = stopping.requested() => return None, result = attempt => result } {
                Ok(raw) => return Some(raw),
                Err(Error::Closed) => return None,
                Err(error) => {
                    tracing::debug!(queue = self.source.queue_name(), %error, "consuming is not possible yet");
                }
            }
        }
    }
}

/// Consumes until the consumer ends; tells why it did.
async fn consume<H, Fut>(
    (source, raw): (&mut Source, &mut RawConsumer),
    turns: &Arc<Turns>,
    working: &mut Workplace<Turn>,
    handle: &H,
) -> Error
where
    H: FnOnce(Delivery, Turn) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Turn> + Send + 'static,
{
    // From the message before.
    let mut spare: Option<Turn> = None;
    loop {
        let next = match raw.next().now_or_never() {
            Some(next) => next,
            None => {
                // An idle queue holds no turn.
                spare = None;
                raw.next().await
            }
        };
        let delivery = match next {
            Ok(delivery) => delivery,
            Err(error) => return error,
        };
        source.read(&delivery);
        let turn = match spare.take().filter(Turn::is_to_spare) {
            Some(turn) => turn,
            None => turns.turn().await,
        };
        let mut given = Some((handle.clone(), delivery, turn));
        spare = poll_fn(|cx| {
            let work = given.take().map(|(handle, delivery, turn)| move || handle(delivery, turn));
            Poll::Ready(work.and_then(|work| working.begin(cx, work)))
        })
        .await;
        // Others, and the request to stop, have their turn too while there are always more messages.
        consume_budget().await;
    }
}
