//! The key that a message for a queue is put into.

use amqp_codec::ShortString;
use redis::ScriptInvocation;

use crate::{
    backend::{BackendError, Message},
    redis::{
        declared::Declared,
        hub::{Hub, now_milliseconds},
    },
    sync::atomic::{AtomicU64, Ordering},
};

/// How long the list of a queue for replies lives that was declared by kombu, which sets no limit
/// where others push: one hour, in milliseconds.
const REPLY_LIFETIME: u64 = 3_600_000;

/// The most items of a queue that are kept because they cannot be read.
const MOST_UNDECODABLE: u64 = 1000;

/// How a message is put somewhere.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum How {
    /// To the end of a list that is taken from next.
    Front(Option<Expiry>),
    /// To the end of a list that is taken from last.
    Back(Option<Expiry>),
    /// To a list that holds so many at most.
    SetAside(u64),
    /// To a sorted set, for this time in milliseconds since 1970.
    At(f64),
}

impl How {
    /// The command that does it.
    pub(crate) fn command(&self) -> &'static str {
        match self {
            How::Front(_) => "RPUSH",
            How::Back(_) | How::SetAside(_) => "LPUSH",
            How::At(_) => "ZADD",
        }
    }

    /// The kind of key that it is done to.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            How::Front(_) | How::Back(_) | How::SetAside(_) => "list",
            How::At(_) => "zset",
        }
    }

    /// The number that goes with it to a script.
    #[expect(clippy::cast_precision_loss, reason = "it is a time or a bound, far below 2^52")]
    pub(crate) fn number(&self) -> f64 {
        match self {
            How::Front(expiry) | How::Back(expiry) => {
                expiry.as_ref().map_or(0.0, |expiry| expiry.lifetime as f64)
            }
            How::SetAside(most) => -(*most as f64),
            How::At(due) => *due,
        }
    }

    /// The other lists that live from now on as long as the one that the message is put into.
    fn others(&self) -> &[String] {
        match self {
            How::Front(Some(expiry)) | How::Back(Some(expiry)) => &expiry.others,
            _ => &[],
        }
    }
}

/// The time for which lists live from the moment when a message is put into one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Expiry {
    /// Milliseconds.
    pub(crate) lifetime: u64,
    /// The other lists of a queue with `x-expires`: they go together, as in kombu.
    pub(crate) others: Vec<String>,
}

impl Expiry {
    /// That of a queue's list; `None` for a list that stays.
    pub(crate) fn new(hub: &Hub, queue: &str, list: &str, declared: Option<&Declared>) -> Option<Self> {
        let lifetime = list_lifetime(queue, declared)?;
        let mut others = Vec::new();
        if declared.is_some_and(|declared| declared.expires.is_some()) {
            others = hub.keys.lists(queue);
            others.retain(|other| other != list);
        }
        Some(Expiry { lifetime, others })
    }

    /// All lists that live so long, with the one that the message is put into.
    pub(crate) fn lists<'a>(&'a self, list: &'a str) -> impl Iterator<Item = &'a str> {
        std::iter::once(list).chain(self.others.iter().map(String::as_str))
    }
}

/// Where and how a message is put.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Place {
    pub(crate) key: String,
    pub(crate) how: How,
    /// The `expiration` that the message must have there, in milliseconds.
    pub(crate) lifetime: Option<u64>,
    /// Set when the queue was deleted and what is sent to it by its name goes nowhere.
    pub(crate) deleted: bool,
}

impl Place {
    /// Adds its key and arguments to those of a script that puts a message there.
    pub(crate) fn add_to(&self, script: &mut ScriptInvocation<'_>) {
        let others = self.how.others();
        script.key(&self.key).arg(self.how.command()).arg(self.how.number());
        script.key(others).arg(others.len());
    }
}

/// The place of a message that enters a queue. `lifetime` is its own `expiration`, in milliseconds.
///
/// # Errors
/// When Redis fails.
pub(crate) async fn place(
    hub: &Hub,
    queue: &str,
    wire_priority: u8,
    lifetime: Option<u64>,
) -> Result<Place, BackendError> {
    let stored = hub.stored(queue).await?;
    let deleted = stored.as_ref().is_some_and(|stored| stored.deleted);
    let declared = stored.filter(|stored| !stored.deleted);
    let ttl = declared.as_ref().and_then(|declared| declared.message_ttl);
    let lifetime = lifetime.into_iter().chain(ttl).min();
    if let (Some(_), Some(delay)) = (declared.as_ref().and_then(|declared| declared.delay()), lifetime) {
        let how = How::At(due(delay));
        return Ok(Place { key: delayed_key(hub, queue), how, lifetime: None, deleted });
    }
    let key = hub.keys.list(queue, wire_priority);
    let how = How::Back(Expiry::new(hub, queue, &key, declared.as_deref()));
    Ok(Place { key, how, lifetime, deleted })
}

/// The place of what came from a queue and cannot be read: it harms nobody there.
pub(crate) fn aside(hub: &Hub, queue: &str) -> Place {
    let (key, how) = (hub.keys.undecodable(queue), How::SetAside(MOST_UNDECODABLE));
    Place { key, how, lifetime: None, deleted: false }
}

/// Gives a message the `expiration` of its place.
pub(crate) fn expire(message: &mut Message, lifetime: Option<u64>) {
    if let Some(Ok(lifetime)) = lifetime.map(|lifetime| ShortString::try_from(lifetime.to_string())) {
        message.properties.expiration = Some(lifetime);
    }
}

/// How long a queue's lists live after the last message was put there, in milliseconds.
fn list_lifetime(queue: &str, declared: Option<&Declared>) -> Option<u64> {
    let reply = queue.contains(".reply.") && queue.ends_with(".pidbox");
    declared.and_then(Declared::lifetime).or(reply.then_some(REPLY_LIFETIME))
}

/// Sorted set: the messages that wait in a retry queue, by the time when they are due.
pub(crate) fn delayed_key(hub: &Hub, queue: &str) -> String {
    format!("{}.{queue}", hub.keys.delayed())
}

/// The time in so many milliseconds. Among messages of a millisecond, a fraction keeps their order.
#[expect(clippy::cast_precision_loss, reason = "times are far below 2^52")]
fn due(delay: u64) -> f64 {
    static ORDER: AtomicU64 = AtomicU64::new(0);
    let fraction = (ORDER.fetch_add(1, Ordering::Relaxed) % 1000) as f64 / 1000.0;
    now_milliseconds().saturating_add(delay) as f64 + fraction
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_do_not_wait_for_ever() {
        assert_eq!(list_lifetime("1f2e.reply.celery.pidbox", None), Some(REPLY_LIFETIME));
        assert_eq!(list_lifetime("w1@vm.celery.pidbox", None), None);
        let declared = Declared { expires: Some(7), ..Declared::default() };
        assert_eq!(list_lifetime("a.reply.celery.pidbox", Some(&declared)), Some(7));
    }
}
