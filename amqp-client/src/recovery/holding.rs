//! What the broker still reserves for the lost connection, because it has not noticed the loss:
//! exclusive queues and exclusive consumers. Noticing may take the broker two heartbeats and more.

use std::{fmt, future::pending, time::Duration};

use amqp_codec::{
    Arguments as _, Method, ShortString,
    method::{basic, queue},
};
use tokio::time::{Instant, sleep_until};

use crate::{
    error::{Error, Result},
    event::{Event, Skipped},
    proto::{
        channel_ref::ChannelRef, connection::ChannelKey, consuming::subscription::Subscription,
        registry::RecordedQueue,
    },
    recovery::redeclare::Redeclaration,
    runtime::answers::Answers,
};

/// The pause before the first attempt; pauses double up to the longest one.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// The queues and consumers that the broker reserves, which are tried again while everything else
/// goes on.
pub(crate) struct Holding<'a> {
    answers: Answers<'a>,
    /// How long they are tried again.
    patience: Duration,
    begun: Instant,
    items: Vec<Held>,
    attempts: u32,
    due: Option<Instant>,
}

/// A reserved queue or consumer, and the broker's last refusal.
struct Held {
    what: What,
    error: Error,
}

enum What {
    /// An exclusive queue, together with its consumers.
    Queue(RecordedQueue),
    /// The exclusive consumer of a queue.
    Consumer(ChannelKey, Subscription),
}

/// The result of an attempt.
enum Attempt {
    /// It is restored.
    Released,
    /// Nobody wants it any more, or it is restarted with its channel.
    Gone,
    /// It is still reserved, or its channel is being restored.
    NotYet,
    Refused(Error),
}

impl<'a> Holding<'a> {
    /// Makes an empty list for a connection that is being restored.
    pub(crate) fn new(answers: Answers<'a>, patience: Duration) -> Self {
        Holding { answers, patience, begun: Instant::now(), items: Vec::new(), attempts: 0, due: None }
    }

    /// Tells whether to wait for a consumer: it is exclusive, and its queue is still taken.
    pub(crate) fn may_keep_consumer(&self, subscription: &Subscription, error: &Error) -> bool {
        subscription.consume.exclusive && !self.patience.is_zero() && error.is_taken()
    }

    /// Adds an exclusive queue that another connection has. Its consumers wait for it.
    pub(crate) fn keep_queue(&mut self, queue: RecordedQueue, error: Error) {
        self.answers.shared.with(|engine| engine.hold_consumers_of(&queue.declare.queue));
        let error = error.about_queue(&queue.declare.queue.to_string());
        self.items.push(Held { what: What::Queue(queue), error });
    }

    pub(crate) fn keep_consumer(&mut self, key: ChannelKey, subscription: Subscription, error: Error) {
        self.with_channel(key, |channel| channel.consumers.set_held(subscription.tag(), true));
        let error = error.about_queue(&subscription.consume.queue.to_string());
        self.items.push(Held { what: What::Consumer(key, subscription), error });
    }

    pub(crate) fn report(&self) -> Vec<Skipped> {
        let told = |held: &Held| Skipped { what: held.what.to_string(), error: held.error.clone() };
        self.items.iter().map(told).collect()
    }

    /// Sets the time of the next attempt, and reports it.
    pub(crate) fn plan(&mut self) {
        if self.items.is_empty() {
            self.due = None;
            return;
        }
        let (now, attempt) = (Instant::now(), self.attempts + 1);
        let pause = FIRST_PAUSE.saturating_mul(1 << self.attempts.min(20)).min(LONGEST_PAUSE);
        let left = self.patience.saturating_sub(now.saturating_duration_since(self.begun));
        let delay = pause.min(left);
        self.due = Some(now + delay);
        for held in &self.items {
            let (what, error) = (held.what.to_string(), held.error.clone());
            self.tell(Event::Held { what, attempt, delay, error });
        }
    }

    /// Waits until it is time for the next attempt.
    pub(crate) async fn due(&self) {
        match self.due {
            Some(due) => sleep_until(due).await,
            None => pending().await,
        }
    }

    /// Tries everything again once.
    ///
    /// # Errors
    /// If the connection cannot continue.
    pub(crate) async fn attempt(&mut self) -> Result<()> {
        self.attempts += 1;
        let is_last = self.begun.elapsed() >= self.patience;
        for Held { what, error } in std::mem::take(&mut self.items) {
            let told = what.to_string();
            match self.try_again(&what).await? {
                Attempt::Released => self.tell(Event::Released { what: told }),
                Attempt::Gone => {}
                Attempt::NotYet if is_last => self.give_up(&what, error),
                Attempt::NotYet => self.items.push(Held { what, error }),
                Attempt::Refused(error) => {
                    let error = error.about_queue(&what.queue().to_string());
                    if error.is_taken() && !is_last {
                        self.items.push(Held { what, error });
                    } else {
                        self.give_up(&what, error);
                    }
                }
            }
        }
        self.plan();
        Ok(())
    }

    async fn try_again(&self, what: &What) -> Result<Attempt> {
        match what {
            What::Queue(queue) => self.queue(queue).await,
            What::Consumer(key, subscription) => {
                let tag = subscription.tag();
                if self.with_channel(*key, |channel| channel.consumers.is_held(tag)) != Some(true) {
                    return Ok(Attempt::Gone);
                }
                match self.look_at(&subscription.consume.queue).await? {
                    Ok(0) => self.resume(*key, tag).await,
                    Ok(_) => Ok(Attempt::NotYet),
                    Err(error) => Ok(Attempt::Refused(error)),
                }
            }
        }
    }

    async fn queue(&self, queue: &RecordedQueue) -> Result<Attempt> {
        let name = &queue.declare.queue;
        let recorded =
            self.answers.shared.with(|engine| engine.registry().and_then(|known| known.queue(name)));
        let Some((_, bindings)) = recorded else {
            self.end_consumers_of(name);
            return Ok(Attempt::Gone);
        };
        let mut redeclaration = Redeclaration::new(self.answers);
        if let Err(error) = redeclaration.declare(queue.declare.clone()).await? {
            return Ok(Attempt::Refused(error));
        }
        for skipped in redeclaration.bind(&bindings).await? {
            self.tell(Event::NotRestored(skipped));
        }
        drop(redeclaration);
        for (key, tag) in self.answers.shared.with(|engine| engine.held_consumers_of(name)) {
            match self.resume(key, &tag).await? {
                Attempt::Refused(error) => self.fail(key, &tag, name, error),
                // Its queue exists now, so the consumer is restarted with its channel.
                Attempt::NotYet => {
                    self.with_channel(key, |channel| channel.consumers.set_held(&tag, false));
                }
                Attempt::Released | Attempt::Gone => {}
            }
        }
        Ok(Attempt::Released)
    }

    /// Ends the waiting consumers of a queue that the user has deleted, as the broker would.
    fn end_consumers_of(&self, queue: &ShortString) {
        for (key, tag) in self.answers.shared.with(|engine| engine.held_consumers_of(queue)) {
            let cancelled = Error::ConsumerCancelled { tag: tag.to_string() };
            self.fail(key, &tag, queue, cancelled);
        }
    }

    /// Returns how many consumers a queue has. Asking is safe, whereas consuming from a queue in
    /// exclusive use would close the consumer's channel.
    async fn look_at(&self, name: &ShortString) -> Result<Result<u32>> {
        let passive = queue::Declare { queue: name.clone(), passive: true, ..Default::default() };
        let looked = Redeclaration::new(self.answers).declare(passive).await?;
        Ok(looked.map(|answer| match answer {
            Method::Queue(queue::Method::DeclareOk(ok)) => ok.consumer_count,
            _ => 0,
        }))
    }

    /// Restarts a consumer on its channel. If the broker refuses nevertheless, the channel is
    /// reopened.
    async fn resume(&self, key: ChannelKey, tag: &ShortString) -> Result<Attempt> {
        let resuming = self.answers.shared.with(|engine| engine.channel(key)?.resume_held_consumer(tag));
        let call = match resuming {
            Ok(Some(call)) => call,
            Ok(None) | Err(Error::ChannelEnded { .. }) => return Ok(Attempt::Gone),
            Err(Error::Recovering) => return Ok(Attempt::NotYet),
            Err(error) => return Err(error),
        };
        match self.answers.wait(self.answers.due(key, call)).await {
            Ok(_) => {
                self.with_channel(key, |channel| channel.consumer_resumed());
                Ok(Attempt::Released)
            }
            // The channel ended because of another method. If it is reopened, the consumer is
            // restarted with it.
            Err(error) if error.is_channel_error() && !error.may_be_of(basic::Consume::ID) => {
                Ok(Attempt::Gone)
            }
            Err(error) if error.is_channel_error() => {
                self.with_channel(key, |channel| channel.consumers.set_held(tag, true));
                Ok(Attempt::Refused(error))
            }
            Err(error) => Err(error),
        }
    }

    fn give_up(&self, what: &What, error: Error) {
        match what {
            What::Consumer(key, subscription) => {
                self.fail(*key, subscription.tag(), &subscription.consume.queue, error);
            }
            What::Queue(queue) => {
                let name = &queue.declare.queue;
                for (key, tag) in self.answers.shared.with(|engine| engine.held_consumers_of(name)) {
                    self.fail(key, &tag, name, error.clone());
                }
                self.tell(Event::NotRestored(Skipped { what: what.to_string(), error }));
            }
        }
    }

    fn fail(&self, key: ChannelKey, tag: &ShortString, queue: &ShortString, error: Error) {
        self.answers.shared.with(|engine| engine.fail_consumer(key, tag, error.clone()));
        self.tell(Event::NotRestored(Skipped { what: name_consumer(tag, queue), error }));
    }

    /// Works on a channel, unless it has ended.
    fn with_channel<T>(&self, key: ChannelKey, work: impl FnOnce(&mut ChannelRef<'_>) -> T) -> Option<T> {
        self.answers.shared.with(|engine| engine.channel(key).ok().map(|mut channel| work(&mut channel)))
    }

    fn tell(&self, event: Event) {
        self.answers.shared.with(|engine| engine.events().push(event));
    }
}

impl What {
    fn queue(&self) -> &ShortString {
        match self {
            What::Queue(queue) => &queue.declare.queue,
            What::Consumer(_, subscription) => &subscription.consume.queue,
        }
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            What::Queue(queue) => write!(f, "queue {:?}", queue.declare.queue.to_string()),
            What::Consumer(_, subscription) => {
                f.write_str(&name_consumer(subscription.tag(), &subscription.consume.queue))
            }
        }
    }
}

/// Describes a consumer.
pub(crate) fn name_consumer(tag: &ShortString, queue: &ShortString) -> String {
    format!("consumer {:?} of queue {:?}", tag.to_string(), queue.to_string())
}
