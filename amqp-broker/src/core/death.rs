//! What is written on a dead letter: where it died, of what, how often (<https://www.rabbitmq.com/dlx.html#effects>).

use amqp_codec::{
    Array, EncodedProperties, Error, LongString, ShortString, Table, Value, content::CONTENT_HEADER_LEN,
};
use bytes::Bytes;

use super::message::{Draft, Message};

/// Why a message left its queue without being consumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    Rejected,
    Expired,
    /// The queue is too long.
    MaxLength,
    /// It was returned too often.
    DeliveryLimit,
}

impl Reason {
    const fn name(self) -> &'static str {
        match self {
            Reason::Rejected => "rejected",
            Reason::Expired => "expired",
            Reason::MaxLength => "maxlen",
            Reason::DeliveryLimit => "delivery_limit",
        }
    }
}

/// Where and when a message died, and where it goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Death<'a> {
    pub(crate) reason: Reason,
    /// The queue's name.
    pub(crate) queue: &'a ShortString,
    /// Seconds since 1970.
    pub(crate) time: u64,
    /// The exchange it goes to, and the key that takes the place of its own.
    pub(crate) exchange: &'a [u8],
    pub(crate) key: Option<&'a [u8]>,
}

impl Death<'_> {
    /// The letter to be published, and its headers.
    ///
    /// # Errors
    /// Properties that cannot be read, or headers that nest too deep with what is added.
    pub(crate) fn letter(&self, message: &Message) -> Result<(Draft, Table), Error> {
        let parts = message.parts();
        let (exchange, key) = parts.names();
        let mut properties =
            EncodedProperties::from_encoded(Bytes::copy_from_slice(parts.properties())).decode()?;
        let mut headers = properties.headers.take().unwrap_or_default();
        let expiration = properties.expiration.take();
        let mut entry = Table::new();
        entry.push("count", 1_i64)?;
        entry.push("reason", self.reason.name())?;
        entry.push("queue", text(self.queue.as_bytes()))?;
        entry.push("time", Value::Timestamp(self.time))?;
        entry.push("exchange", text(exchange))?;
        entry.push("routing-keys", Value::Array(routing_keys(key, &headers)?))?;
        if let Some(expiration) = expiration {
            entry.push("original-expiration", text(expiration.as_bytes()))?;
        }
        self.add(entry, exchange, &mut headers)?;
        if self.key.is_some() {
            headers.remove("CC");
        }
        properties.headers = Some(headers.clone());
        let mut draft = Draft::default();
        draft.start(self.exchange, self.key.unwrap_or(key));
        let fixed = parts.header.get(..CONTENT_HEADER_LEN).unwrap_or_default();
        draft.header(&[fixed, properties.encode()?.as_encoded()].concat());
        draft.small(parts.small);
        draft.large(parts.large.to_vec());
        if self.key.is_none() {
            parts.blind_keys().for_each(|key| draft.blind_key(key));
        }
        Ok((draft, headers))
    }

    /// Puts the entry first, or counts once more when there is one of this queue and reason: then that one comes first.
    fn add(&self, entry: Table, exchange: &[u8], headers: &mut Table) -> Result<(), Error> {
        let mut deaths = Array::new();
        match headers.get("x-death") {
            Some(Value::Array(earlier)) => {
                let earlier = grouped(&earlier)?;
                let same = |death: &&Table| self.is(death);
                let mut first = match earlier.iter().find(same) {
                    None => entry,
                    Some(death) => counted(death, count(death).unwrap_or(0).saturating_add(1))?,
                };
                first.sort();
                deaths.push(first)?;
                earlier
                    .iter()
                    .filter(|death| !same(death))
                    .try_for_each(|death| deaths.push(death.clone()))?;
            }
            Some(_) => deaths.push(entry)?,
            None => {
                headers.insert("x-first-death-reason", self.reason.name())?;
                headers.insert("x-first-death-queue", text(self.queue.as_bytes()))?;
                headers.insert("x-first-death-exchange", text(exchange))?;
                deaths.push(entry)?;
            }
        }
        headers.insert("x-death", Value::Array(deaths))?;
        headers.sort();
        Ok(())
    }

    fn is(&self, death: &Table) -> bool {
        let is = |key, text: &[u8]| matches!(death.get(key), Some(Value::LongString(held)) if held.as_bytes() == text);
        is("queue", self.queue.as_bytes()) && is("reason", self.reason.name().as_bytes())
    }
}

/// Whether a message with these headers, dead for anything but rejection, has been in this queue before without having
/// been rejected since: it would go round for ever.
pub(crate) fn is_cycle(headers: &Table, queue: &ShortString) -> bool {
    let Some(Value::Array(deaths)) = headers.get("x-death") else { return false };
    for death in &deaths {
        let Value::Table(death) = death else { return false };
        let is = |key, text: &[u8]| matches!(death.get(key), Some(Value::LongString(held)) if held.as_bytes() == text);
        if is("reason", b"rejected") {
            return false;
        }
        if is("queue", queue.as_bytes()) {
            return true;
        }
    }
    false
}

fn text(bytes: &[u8]) -> LongString {
    LongString::from(Bytes::copy_from_slice(bytes))
}

/// The routing key, and those of the header `CC`.
fn routing_keys(key: &[u8], headers: &Table) -> Result<Array, Error> {
    let mut keys = Array::new();
    keys.push(text(key))?;
    if let Some(Value::Array(copies)) = headers.get("CC") {
        copies
            .iter()
            .filter(|copy| matches!(copy, Value::LongString(_)))
            .try_for_each(|copy| keys.push(copy))?;
    }
    Ok(keys)
}

fn count(death: &Table) -> Option<i64> {
    death.get("count")?.as_i64()
}

/// The entry with another count, in the place of the one it has or before all else.
fn counted(death: &Table, count: i64) -> Result<Table, Error> {
    let mut counted = Table::new();
    counted.push("count", count)?;
    for (name, value) in death.iter().filter(|(name, _)| name != "count") {
        counted.push(&name.to_text(), value)?;
    }
    Ok(counted)
}

/// Entries of old brokers have no count but are there several times: one of each queue and reason, with a count. Anything
/// that is no entry goes.
fn grouped(deaths: &Array) -> Result<Vec<Table>, Error> {
    let mut groups: Vec<(Option<Value>, Option<Value>, Table, i64)> = Vec::new();
    for death in deaths {
        let Value::Table(death) = death else { continue };
        let (queue, reason) = (death.get("queue"), death.get("reason"));
        match groups.iter_mut().find(|(q, r, ..)| *q == queue && *r == reason) {
            Some((.., times)) => *times += 1,
            None => groups.push((queue, reason, death, 1)),
        }
    }
    // RabbitMQ turns their order round.
    groups
        .into_iter()
        .rev()
        .map(|(.., death, times)| if count(&death).is_some() { Ok(death) } else { counted(&death, times) })
        .collect()
}
