//! The lock of whoever returns lapsed claims. It is that of redis-py, which kombu takes.

use std::time::Duration;

use redis::{Cmd, Value};
use uuid::Uuid;

use crate::{
    backend::BackendError,
    redis::{connect::renew_script, hub::Hub, options::RedisOptions},
};

/// The time that the lock outlives its holder. Kombu takes it for all of its work at once; here it
/// is renewed before each part of the work, so that a killed process stops others for seconds.
const LIFETIME: Duration = Duration::from_secs(10);

/// Returns the time that the lock outlives its holder with these options.
pub(crate) fn lock_lifetime(options: &RedisOptions) -> Duration {
    options.unacked_mutex_expire.min(LIFETIME)
}

/// The lock, held.
#[derive(Debug)]
pub(super) struct Lock<'a> {
    hub: &'a Hub,
    key: String,
    token: String,
    /// Milliseconds.
    lifetime: u64,
}

impl<'a> Lock<'a> {
    /// Takes the lock; `None` when another has it.
    pub(super) async fn take(hub: &'a Hub) -> Result<Option<Self>, BackendError> {
        let (key, token) = (hub.keys.unacked_mutex(), Uuid::new_v4().to_string());
        let lifetime = u64::try_from(lock_lifetime(&hub.options).as_millis()).unwrap_or(u64::MAX).max(1);
        let mut take = redis::cmd("SET");
        take.arg(&key).arg(&token).arg("NX").arg("PX").arg(lifetime);
        let taken = hub.command::<Option<String>>(&take).await?.is_some();
        Ok(taken.then_some(Lock { hub, key, token, lifetime }))
    }

    /// Renews it; `false` when it was lost.
    pub(super) async fn renew(&self) -> Result<bool, BackendError> {
        self.live_for(self.lifetime).await
    }

    /// Gives it back, if it was not lost.
    pub(super) async fn release(self) -> Result<(), BackendError> {
        self.live_for(0).await.map(drop)
    }

    /// Sets how many milliseconds it lives, if it is still ours; tells whether it is.
    async fn live_for(&self, lifetime: u64) -> Result<bool, BackendError> {
        let hub = self.hub;
        if hub.scripting() {
            let mut script = renew_script().prepare_invoke();
            let answer = script.key(&self.key).arg(&self.token).arg(lifetime);
            let answer = answer.invoke_async::<i64>(&mut hub.commands()).await;
            if !hub.no_scripting(&answer) {
                return hub.checked(answer).map(|renewed| renewed == 1);
            }
        }
        let mut reads = redis::pipe();
        reads.add_command(get(&self.key));
        let ours = [Value::BulkString(self.token.clone().into())];
        let renewal = |held: Vec<Value>| {
            let held = held == ours;
            let mut renewing = redis::pipe();
            renewing.cmd("PEXPIRE").arg(&self.key).arg(lifetime);
            (held.then_some(renewing), held)
        };
        let (held, _) = hub.transact(std::slice::from_ref(&self.key), &reads, renewal).await?;
        Ok(held)
    }
}

fn get(key: &str) -> Cmd {
    let mut get = redis::cmd("GET");
    get.arg(key);
    get
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_that_is_left_behind_stops_others_for_as_long_as_is_wanted_and_seconds_at_most() {
        let options = RedisOptions::default();
        assert_eq!(lock_lifetime(&options), LIFETIME);
        assert_eq!(lock_lifetime(&options.unacked_mutex_expire(LIFETIME / 4)), LIFETIME / 4);
    }
}
