//! Messages that wait in retry queues until they are due.
//!
//! A retry queue has a time to live and one queue for its dead messages (`x-message-ttl`,
//! `x-dead-letter-exchange` and `x-dead-letter-routing-key`). Its messages are in a sorted set of
//! its own, by the time when they are due; a set of all such queues tells where to look. Every
//! gateway on the same Redis moves what is due, in one step for each message, so that none is lost
//! or doubled when one of them ends.

use std::{sync::Arc, time::Duration};

use redis::{RedisResult, Value, aio::MultiplexedConnection};
use tokio::time;

use crate::{
    backend::BackendError,
    core::rabbitmq::death::Reason,
    redis::{
        connect::due_script,
        hub::{Hub, now_milliseconds},
        places::{Place, add_put, aside, dead_letter, delayed_key},
    },
    shown::shown,
};

/// The most messages of a queue that are moved at once.
const MOST_MOVED: usize = 200;

/// The longest time between two looks, in case that a notice of a change was lost.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// The longest time between two looks where Redis does not tell of changes.
const UNTOLD_PAUSE: Duration = Duration::from_secs(1);

/// The shortest time between two looks, however often there is news.
const SHORTEST_PAUSE: Duration = Duration::from_millis(2);

/// Lists a retry queue among those that are looked at.
///
/// # Errors
/// When Redis fails.
pub(crate) async fn note_retry_queue(hub: &Hub, queue: &str) -> Result<(), BackendError> {
    hub.command(redis::cmd("SADD").arg(hub.keys.delayed()).arg(queue)).await
}

/// Moves due messages to the queues that they go to.
#[derive(Debug)]
pub(crate) struct Mover {
    hub: Arc<Hub>,
}

impl Mover {
    pub(crate) fn new(hub: Arc<Hub>) -> Self {
        Mover { hub }
    }

    /// Moves all that is due, and waits until there may be more: others publish too.
    ///
    /// # Errors
    /// When Redis fails.
    pub(crate) async fn turn(&self) -> Result<(), BackendError> {
        let pause = self.move_all().await?;
        time::sleep(SHORTEST_PAUSE).await;
        _ = time::timeout(pause, self.hub.arrivals.delayed.notified()).await;
        Ok(())
    }

    /// Moves all that is due; returns when the next is.
    async fn move_all(&self) -> Result<Duration, BackendError> {
        let mut pause = if self.hub.dialer().resp3() { LONGEST_PAUSE } else { UNTOLD_PAUSE };
        let queues: Vec<String> = self.hub.read(redis::cmd("SMEMBERS").arg(self.hub.keys.delayed())).await?;
        for queue in queues {
            while self.move_due(&queue).await? == MOST_MOVED {}
            pause = pause.min(self.next_due(&queue).await?.unwrap_or(pause));
        }
        Ok(pause)
    }

    /// Moves a queue's due messages, up to a bound; returns how many.
    async fn move_due(&self, queue: &str) -> Result<usize, BackendError> {
        let key = delayed_key(&self.hub, queue);
        let mut range = redis::cmd("ZRANGEBYSCORE");
        range.arg(&key).arg("-inf").arg(now_milliseconds()).arg("LIMIT").arg(0).arg(MOST_MOVED);
        let due: Vec<Vec<u8>> = self.hub.command(&range).await?;
        let mut moves = Vec::new();
        for raw in &due {
            let letter = match self.hub.read_envelope(raw) {
                Ok(envelope) => dead_letter(&self.hub, queue, envelope, Reason::Expired).await?,
                Err(_) => {
                    self.hub.counts.add_undecodable(1);
                    None
                }
            };
            moves.push(letter.unwrap_or_else(|| (set_aside(&self.hub, queue), raw.clone())));
        }
        self.commit(&key, &due, &moves).await?;
        Ok(due.len())
    }

    async fn commit(
        &self,
        key: &str,
        due: &[Vec<u8>],
        moves: &[(Place, Vec<u8>)],
    ) -> Result<(), BackendError> {
        if due.is_empty() {
            return Ok(());
        }
        if self.hub.scripting() {
            let mut script = due_script().prepare_invoke();
            script.key(key);
            for (raw, (place, moved)) in due.iter().zip(moves) {
                script.arg(raw).arg(moved);
                place.add_to(&mut script);
            }
            let answer: RedisResult<Value> = script.invoke_async(&mut self.hub.commands()).await;
            if !self.hub.no_scripting(&answer) {
                return self.hub.checked(answer).map(|_| ());
            }
        }
        let mut spare = self.hub.transaction_connection().await?;
        for (raw, (place, moved)) in due.iter().zip(moves) {
            self.commit_one(&mut spare.connection, key, raw, place, moved).await?;
        }
        self.hub.put_back(spare);
        Ok(())
    }

    /// Without scripts: if another moves the message meanwhile, nothing happens.
    async fn commit_one(
        &self,
        connection: &mut MultiplexedConnection,
        key: &str,
        raw: &[u8],
        place: &Place,
        moved: &[u8],
    ) -> Result<(), BackendError> {
        self.hub.checked(redis::cmd("WATCH").arg(key).exec_async(connection).await)?;
        let score = redis::cmd("ZSCORE").arg(key).arg(raw).query_async(connection).await;
        let score: Option<f64> = self.hub.checked(score)?;
        self.hub.check_kinds(connection, &[(&place.key, place.how.kind())]).await?;
        let mut pipeline = redis::pipe();
        pipeline.atomic();
        if score.is_some() {
            add_put(&mut pipeline, place, moved);
            pipeline.cmd("ZREM").arg(key).arg(raw);
        }
        pipeline.cmd("PING");
        self.hub.checked(pipeline.query_async::<Value>(connection).await).map(|_| ())
    }

    /// How long until a queue's next message is due.
    async fn next_due(&self, queue: &str) -> Result<Option<Duration>, BackendError> {
        let mut range = redis::cmd("ZRANGE");
        range.arg(delayed_key(&self.hub, queue)).arg(0).arg(0).arg("WITHSCORES");
        let next: Vec<(Vec<u8>, f64)> = self.hub.read(&range).await?;
        #[expect(clippy::cast_precision_loss, reason = "times are far below 2^52")]
        let now = now_milliseconds() as f64;
        Ok(next.first().map(|(_, due)| Duration::from_secs_f64((due - now).clamp(0.0, 1e6) / 1000.0)))
    }
}

/// What has nowhere to go: it cannot be read, or its queue is not a retry queue any more.
fn set_aside(hub: &Hub, queue: &str) -> Place {
    let place = aside(hub, queue);
    tracing::warn!(
        queue = shown(queue),
        list = shown(&place.key),
        "set a delayed message aside that goes nowhere"
    );
    place
}
