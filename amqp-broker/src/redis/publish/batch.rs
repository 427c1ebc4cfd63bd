//! Commands that put messages into Redis, sent together.

use std::collections::HashMap;

use redis::{Pipeline, RedisResult, Value};

use crate::{
    backend::{BackendError, Published},
    redis::{
        connect::is_lost,
        hub::Hub,
        places::{Expiry, How, Place},
    },
};

/// The messages of one call, by where they go.
#[derive(Debug, Default)]
pub(super) struct Batch {
    puts: Vec<Put>,
    /// The index of the put for each list.
    lists: HashMap<String, usize>,
}

/// A command, and those with the time to live of lists.
#[derive(Debug)]
struct Put {
    to: To,
    messages: Vec<Vec<u8>>,
    /// The indexes of the messages among those of the call.
    owners: Vec<usize>,
}

#[derive(Debug)]
enum To {
    List {
        key: String,
        expiry: Option<Expiry>,
    },
    Delayed {
        key: String,
        due: f64,
    },
    /// With `legacy`, the channel that older versions of kombu listen to.
    Channel {
        channel: String,
        legacy: Option<String>,
    },
}

impl Batch {
    /// Adds a message that goes to a place. Those of a list go there with one command.
    pub(super) fn put(&mut self, owner: usize, place: Place, raw: Vec<u8>) {
        let expiry = match place.how {
            How::At(due) => return self.add(owner, To::Delayed { key: place.key, due }, raw),
            How::Back(expiry) | How::Front(expiry) => expiry,
            How::SetAside(_) => None,
        };
        let known = self.lists.get(&place.key).and_then(|index| self.puts.get_mut(*index));
        if let Some(put) = known {
            put.messages.push(raw);
            put.owners.push(owner);
            return;
        }
        self.lists.insert(place.key.clone(), self.puts.len());
        self.add(owner, To::List { key: place.key, expiry }, raw);
    }

    /// Adds a message that is published to a channel, and maybe to the one that old versions use.
    /// It is routed if either is heard.
    pub(super) fn tell(&mut self, owner: usize, channel: String, legacy: Option<String>, raw: Vec<u8>) {
        self.add(owner, To::Channel { channel, legacy }, raw);
    }

    fn add(&mut self, owner: usize, to: To, raw: Vec<u8>) {
        self.puts.push(Put { to, messages: vec![raw], owners: vec![owner] });
    }

    /// Sends all, and notes in `outcomes` what did not reach Redis, or nobody.
    ///
    /// # Errors
    /// When it is unknown what became of them.
    pub(super) async fn send(self, hub: &Hub, outcomes: &mut [Published]) -> Result<(), BackendError> {
        if self.puts.is_empty() {
            return Ok(());
        }
        let mut pipeline = redis::pipe();
        self.puts.iter().for_each(|put| put.write(&mut pipeline));
        let (replicas, longest) = (hub.options.wait_replicas, hub.options.wait_replicas_timeout);
        let answers: Vec<RedisResult<Value>> = if replicas == 0 {
            hub.pipeline(pipeline.ignore_errors()).await?
        } else {
            // It counts the replicas that have what was written on its own connection.
            let most = longest.as_millis().clamp(1, u128::from(u32::MAX));
            pipeline.cmd("WAIT").arg(replicas).arg(u32::try_from(most).unwrap_or(u32::MAX));
            hub.waiting_pipeline(pipeline.ignore_errors(), longest).await?
        };
        if self.puts.iter().any(|put| matches!(put.to, To::Delayed { .. })) {
            hub.arrivals.delayed.notify_one();
        }
        let mut answers = answers.into_iter();
        for put in &self.puts {
            put.judge(hub, &mut answers, outcomes)?;
        }
        if replicas > 0
            && !matches!(answers.next(), Some(Ok(Value::Int(reached))) if reached >= i64::from(replicas))
        {
            let stored = outcomes.iter_mut().filter(|outcome| **outcome == Published::Routed);
            stored.for_each(|outcome| *outcome = Published::Rejected);
        }
        Ok(())
    }
}

impl Put {
    fn write(&self, pipeline: &mut Pipeline) {
        match &self.to {
            To::List { key, expiry } => {
                pipeline.cmd("LPUSH").arg(key).arg(&self.messages);
                if let Some(expiry) = expiry {
                    for list in expiry.lists(key) {
                        pipeline.cmd("PEXPIRE").arg(list).arg(expiry.lifetime);
                    }
                }
            }
            To::Delayed { key, due } => _ = pipeline.cmd("ZADD").arg(key).arg(due).arg(&self.messages),
            To::Channel { channel, legacy } => {
                for channel in std::iter::once(channel).chain(legacy) {
                    pipeline.cmd("PUBLISH").arg(channel).arg(&self.messages);
                }
            }
        }
    }

    /// Takes this put's answers.
    fn judge(
        &self,
        hub: &Hub,
        answers: &mut impl Iterator<Item = RedisResult<Value>>,
        outcomes: &mut [Published],
    ) -> Result<(), BackendError> {
        let mut answer = answers.next();
        match &self.to {
            To::List { key, expiry: Some(expiry) } => {
                expiry.lists(key).for_each(|_| _ = answers.next());
            }
            To::Channel { legacy: Some(_), .. } => {
                let legacy = answers.next();
                if matches!(answer, Some(Ok(Value::Int(0)))) {
                    answer = legacy;
                }
            }
            _ => {}
        }
        let outcome = match answer {
            Some(Ok(Value::Int(0))) if matches!(self.to, To::Channel { .. }) => Published::Unroutable,
            Some(Ok(_)) => return Ok(()),
            Some(Err(error)) if is_lost(&error) => return hub.checked(Err(error)),
            Some(Err(error)) => {
                tracing::warn!(%error, "Redis refuses a message");
                Published::Rejected
            }
            None => Published::Rejected,
        };
        for owner in &self.owners {
            if let Some(slot) = outcomes.get_mut(*owner) {
                *slot = outcome.clone();
            }
        }
        Ok(())
    }
}
