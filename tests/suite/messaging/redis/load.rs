//! Publishers that retry, workers in processes of their own, and the account of every message.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use messaging::{ConnectionEvents, Exchange, Producer, RetryPolicy, Transport};
use tests::{Ledger, Outcome, RecordingWorker, Redis, Summary};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep},
};

use super::super::{example::example, fixture::within};

const QUEUE: &str = "ledger";
const PUBLISHERS: usize = 16;
const WORKERS: usize = 2;

/// How far publishers are ahead of the workers at most, so that each fault meets both at work.
const AHEAD: usize = 500;

/// How long the next messages may take, also while Redis is away.
const DEADLINE: Duration = Duration::from_secs(120);

/// The pause between two looks at what the workers have recorded.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// The options of all URLs: what a killed process held returns soon, as does the lock of one that
/// was killed while it returned messages.
pub(super) const OPTIONS: &str = "visibility_timeout=1&unacked_restore_interval=0.5&unacked_restore_throttle=1\
                                  &unacked_mutex_expire=1&socket_timeout=5";

/// The program of the workers; `None`, and `test` is left out, when it or Redis is not there.
pub(super) fn program(test: &str) -> Option<PathBuf> {
    Redis::require(test).then(|| example("recording_worker", test)).flatten()
}

/// A load from [`begin`](Self::begin) to [`finish`](Self::finish).
pub(super) struct Load {
    ledger: Arc<Ledger>,
    transport: Transport,
    publishers: JoinSet<()>,
    workers: Vec<RecordingWorker>,
    /// How many messages were handled, each counted once.
    handled: watch::Sender<usize>,
}

impl Load {
    /// Starts publishers of so many messages in all, and the workers, which are processes of a
    /// [`program`].
    pub(super) async fn begin(program: &Path, url: &str, messages: usize) -> Self {
        let transport = within(Transport::connect(url)).await.unwrap();
        let retry = RetryPolicy::exponential(Duration::from_millis(20), Duration::from_millis(500));
        let producer = transport.producer(Exchange::default()).retry(retry.deadline(DEADLINE));
        let (ledger, (handled, _)) = (Arc::new(Ledger::new()), watch::channel(0));
        let mut publishers = JoinSet::new();
        for number in 0..PUBLISHERS {
            let count = messages / PUBLISHERS + usize::from(number < messages % PUBLISHERS);
            publishers.spawn(publish(Arc::clone(&ledger), producer.clone(), handled.subscribe(), count));
        }
        let workers = (0..WORKERS).map(|_| RecordingWorker::start(program, url, QUEUE).unwrap()).collect();
        Load { ledger, transport, publishers, workers, handled }
    }

    /// Waits until so many messages were handled since the beginning.
    pub(super) async fn reaches(&mut self, messages: usize) {
        let deadline = Instant::now() + DEADLINE;
        loop {
            self.look();
            let handled = *self.handled.borrow();
            if handled >= messages {
                return;
            }
            assert!(Instant::now() < deadline, "only {handled} of {messages}: {}", self.ledger.summary());
            sleep(LOOK_EVERY).await;
        }
    }

    /// Waits until so many more messages were handled.
    pub(super) async fn handles(&mut self, messages: usize) {
        let handled = *self.handled.borrow();
        self.reaches(handled + messages).await;
    }

    /// The account so far.
    pub(super) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The events of the publishers' connections from now on.
    pub(super) fn events(&self) -> ConnectionEvents {
        self.transport.events()
    }

    /// Counts as handled what a master may have taken with it, so that it does not hold publishers
    /// up for ever.
    pub(super) fn may_have_lost(&mut self) {
        self.handled.send_modify(|handled| *handled += AHEAD);
    }

    /// Kills one of the workers (SIGKILL), and starts it again.
    pub(super) fn kill_a_worker(&mut self) {
        let worker = &mut self.workers[fastrand::usize(..WORKERS)];
        worker.kill().unwrap();
        worker.restart().unwrap();
    }

    /// Waits until everything is published, and nothing is left in Redis; returns the ledger.
    pub(super) async fn finish(mut self, redis: &Redis) -> Arc<Ledger> {
        let deadline = Instant::now() + DEADLINE;
        // What a lost replica lacks is never handled, and must not hold publishers up.
        self.handled.send_modify(|handled| *handled = usize::MAX / 2);
        while !self.publishers.is_empty() || !is_empty(redis).await {
            self.look();
            while let Some(ended) = self.publishers.try_join_next() {
                ended.unwrap();
            }
            assert!(Instant::now() < deadline, "not all is done: {}", self.ledger.summary());
            sleep(LOOK_EVERY).await;
        }
        // They record what they handle before they acknowledge it.
        self.look();
        within(self.transport.close()).await.unwrap();
        self.ledger
    }

    /// Reads what the workers have recorded, and lets the publishers know.
    fn look(&mut self) {
        let mut first = 0;
        for worker in &mut self.workers {
            assert_eq!(worker.ended().unwrap(), None, "a worker ended by itself");
            for record in worker.records().unwrap() {
                let receipt = self.ledger.deliver(record.number, record.redelivered);
                self.ledger.ack(receipt, true);
                first += usize::from(receipt.is_first());
            }
        }
        self.handled.send_modify(|handled| *handled += first);
    }
}

/// Publishes one message after the other; each is confirmed at last.
async fn publish(ledger: Arc<Ledger>, producer: Producer, mut handled: watch::Receiver<usize>, count: usize) {
    for _ in 0..count {
        let number = ledger.publish(false);
        let is_near = |handled: &usize| number < (handled + AHEAD) as u64;
        if handled.wait_for(is_near).await.is_err() {
            return;
        }
        let published = producer.ensure_publish(QUEUE, &number).await.unwrap();
        if published.attempts > 1 {
            ledger.published_again(number);
        }
        ledger.settle(number, Outcome::Confirmed);
    }
}

/// Whether nothing is queued or claimed.
async fn is_empty(redis: &Redis) -> bool {
    let (queued, claimed) = (format!("LLEN {QUEUE}"), "HLEN unacked");
    redis.ask(&queued).await.unwrap() == ":0\r\n" && redis.ask(claimed).await.unwrap() == ":0\r\n"
}

/// Checks that everything was confirmed and delivered, whatever may have come twice.
pub(super) fn nothing_is_lost(summary: &Summary, messages: usize) {
    assert_eq!((summary.published, summary.confirmed), (messages, messages), "{summary}");
    assert_eq!((summary.delivered, summary.undelivered), (messages, 0), "{summary}");
}
