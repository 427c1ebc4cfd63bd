//! The same as the scripts do, by transactions: for servers that run no scripts.

use redis::{Pipeline, Value, aio::MultiplexedConnection};

use super::{
    haul::{Haul, Taken, Wanted},
    moved::Move,
};
use crate::{
    backend::BackendError,
    redis::{
        hub::{Hub, now_seconds},
        places::add_put,
    },
};

/// How often a transaction is tried when others change its keys meanwhile.
const MOST_TRIES: usize = 100;

/// Takes messages from lists and claims them.
///
/// # Errors
/// When Redis fails, or the lists change all the time.
pub(super) async fn take(
    hub: &Hub,
    first: u64,
    wanted: &[Wanted],
    most_bytes: usize,
) -> Result<Haul, BackendError> {
    let mut spare = hub.transaction_connection().await?;
    let mut taking = Taking { hub, number: first, room: most_bytes, haul: Haul::default() };
    taking.lists(&mut spare.connection, wanted).await?;
    hub.put_back(spare);
    Ok(taking.haul)
}

struct Taking<'a> {
    hub: &'a Hub,
    number: u64,
    room: usize,
    haul: Haul,
}

impl Taking<'_> {
    /// Takes from all lists, until there is enough.
    async fn lists(
        &mut self,
        connection: &mut MultiplexedConnection,
        wanted: &[Wanted],
    ) -> Result<(), BackendError> {
        let mut left: Vec<_> = wanted.iter().map(|wanted| wanted.most).collect();
        for step in 0..wanted.first().map_or(0, |wanted| wanted.lists.len()) {
            for (source, wanted) in wanted.iter().enumerate() {
                if self.haul.full {
                    return Ok(());
                }
                let (list, most) = (&wanted.lists[step], &mut left[source]);
                if *most > 0 {
                    *most -= self.list(connection, source, wanted, list, *most).await?;
                }
            }
        }
        Ok(())
    }

    /// Takes from one list; returns how many messages.
    async fn list(
        &mut self,
        connection: &mut MultiplexedConnection,
        source: usize,
        wanted: &Wanted,
        list: &str,
        most: usize,
    ) -> Result<usize, BackendError> {
        for _ in 0..MOST_TRIES {
            watch(self.hub, connection, list).await?;
            let from = i64::try_from(most).unwrap_or(i64::MAX).saturating_neg();
            let read = redis::cmd("LRANGE").arg(list).arg(from).arg(-1).query_async(connection).await;
            let mut messages: Vec<Vec<u8>> = self.hub.checked(read)?;
            messages.reverse();
            let fitting = self.fitting(&messages);
            messages.truncate(fitting);
            if messages.is_empty() {
                unwatch(self.hub, connection).await?;
                return Ok(0);
            }
            if wanted.claimed {
                let (unacked, index) = (self.hub.keys.unacked(), self.hub.keys.unacked_index());
                self.hub.check_kinds(connection, &[(&unacked, "hash"), (&index, "zset")]).await?;
            }
            if self.commit(connection, wanted, list, &messages).await? {
                let number = wanted.claimed.then_some(self.number);
                let numbers = messages.len() as u64;
                self.number += if wanted.claimed { numbers } else { 0 };
                self.room = self.room.saturating_sub(messages.iter().map(Vec::len).sum());
                self.haul.full = self.room == 0;
                let count = messages.len();
                self.haul.taken.extend((0..).zip(messages).map(|(at, raw)| Taken {
                    source,
                    number: number.map(|number| number + at),
                    raw,
                }));
                return Ok(count);
            }
        }
        Err(busy(list))
    }

    /// How many of the messages fit: at least one.
    fn fitting(&self, messages: &[Vec<u8>]) -> usize {
        let mut bytes = 0;
        let fits = messages.iter().take_while(|message| {
            let fits = bytes < self.room;
            bytes += message.len();
            fits
        });
        fits.count()
    }

    async fn commit(
        &self,
        connection: &mut MultiplexedConnection,
        wanted: &Wanted,
        list: &str,
        messages: &[Vec<u8>],
    ) -> Result<bool, BackendError> {
        let (unacked, index, now) = (self.hub.keys.unacked(), self.hub.keys.unacked_index(), now_seconds());
        let mut pipeline = redis::pipe();
        pipeline.atomic();
        for (number, raw) in (self.number..).zip(messages).filter(|_| wanted.claimed) {
            let claim = [b"[", &raw[..], &wanted.tail[..]].concat();
            pipeline.cmd("HSET").arg(&unacked).arg(self.hub.tag(number)).arg(claim);
            pipeline.cmd("ZADD").arg(&index).arg(now).arg(self.hub.tag(number));
        }
        let rest = -1 - i64::try_from(messages.len()).unwrap_or(i64::MAX);
        pipeline.cmd("LTRIM").arg(list).arg(0).arg(rest);
        if let Some(lifetime) = wanted.lifetime {
            for list in &wanted.lists {
                pipeline.cmd("PEXPIRE").arg(list).arg(lifetime);
            }
        }
        exec(self.hub, connection, &pipeline).await
    }
}

/// Moves a claimed message elsewhere, if it is still claimed.
///
/// # Errors
/// When Redis fails, or the claims change all the time.
pub(super) async fn move_claim(
    hub: &Hub,
    connection: &mut MultiplexedConnection,
    moved: &Move,
) -> Result<bool, BackendError> {
    let unacked = hub.keys.unacked();
    for _ in 0..MOST_TRIES {
        watch(hub, connection, &unacked).await?;
        let read = redis::cmd("HGET").arg(&unacked).arg(&moved.tag).query_async(connection).await;
        let held: Option<Vec<u8>> = hub.checked(read)?;
        if held.is_none() || moved.claim.is_some() && held != moved.claim {
            unwatch(hub, connection).await?;
            return Ok(false);
        }
        let kinds: Vec<_> = moved.places.iter().map(|place| (&*place.key, place.how.kind())).collect();
        hub.check_kinds(connection, &kinds).await?;
        if exec(hub, connection, &commands(hub, moved)).await? {
            return Ok(true);
        }
    }
    Err(busy(&unacked))
}

fn commands(hub: &Hub, moved: &Move) -> Pipeline {
    let mut pipeline = redis::pipe();
    pipeline.atomic();
    for place in &moved.places {
        add_put(&mut pipeline, place, &moved.raw);
    }
    pipeline.cmd("ZREM").arg(hub.keys.unacked_index()).arg(&moved.tag);
    pipeline.cmd("HDEL").arg(hub.keys.unacked()).arg(&moved.tag);
    pipeline
}

async fn watch(hub: &Hub, connection: &mut MultiplexedConnection, key: &str) -> Result<(), BackendError> {
    hub.checked(redis::cmd("WATCH").arg(key).exec_async(connection).await)
}

async fn unwatch(hub: &Hub, connection: &mut MultiplexedConnection) -> Result<(), BackendError> {
    hub.checked(redis::cmd("UNWATCH").exec_async(connection).await)
}

/// Runs a transaction; `false` when a watched key has changed.
async fn exec(
    hub: &Hub,
    connection: &mut MultiplexedConnection,
    pipeline: &Pipeline,
) -> Result<bool, BackendError> {
    let answer: Value = hub.checked(pipeline.query_async(connection).await)?;
    Ok(answer != Value::Nil)
}

fn busy(key: &str) -> BackendError {
    BackendError::Unavailable(format!(
        "others changed '{}' {MOST_TRIES} times during a transaction",
        key.escape_debug()
    ))
}
