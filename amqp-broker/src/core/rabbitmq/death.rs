//! The headers of a dead letter: where the message died, why and how often
//! (<https://www.rabbitmq.com/dlx.html#effects>).

use std::collections::{HashMap, HashSet};

use amqp_codec::{
    Array, Elements, Entries, Error, HeaderTable, LongString, ShortString, Table, Value, ValueRef,
};
use bytes::Bytes;

use crate::core::content::{
    header_table::{get, raw, texts},
    message::{Draft, LetterMark, Message, Parts},
    properties::{Changes, Relevant},
};

/// Why a message left its queue without being consumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    Rejected,
    Expired,
    /// The queue was too long.
    MaxLength,
    /// The message was returned too often.
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

/// Where and when a message died, and where its dead letter goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Death<'a> {
    pub(crate) reason: Reason,
    /// The queue's name.
    pub(crate) queue: &'a ShortString,
    /// Seconds since 1970.
    pub(crate) time: u64,
    /// The exchange that the dead letter goes to, and the routing key that replaces its own.
    pub(crate) exchange: &'a [u8],
    pub(crate) key: Option<&'a [u8]>,
}

impl Death<'_> {
    /// The dead letter to publish, and its headers.
    ///
    /// # Errors
    /// Properties that cannot be read.
    pub(crate) fn letter(&self, message: &Message) -> Result<(Draft, HeaderTable), Error> {
        let parts = message.parts();
        let (exchange, key) = parts.names();
        let relevant = Relevant::find(parts.properties())?;
        let mut headers = HeaderTable::from_encoded(relevant.headers.unwrap_or_default())?;
        self.mark(&mut headers, exchange, key, relevant.expiration)?;
        if self.key.is_some() {
            headers.remove("CC");
        }
        let draft = self.draft(&parts, &headers)?;
        Ok((draft, headers))
    }

    /// As [`letter`](Self::letter), as versions do that record deaths themselves: an `x-death` that
    /// a publisher has written counts for nothing, entries keep the order of their fields, and `CC`
    /// stays even where it counts no more.
    ///
    /// # Errors
    /// Properties that cannot be read.
    pub(crate) fn recorded_letter(&self, message: &Message) -> Result<(Draft, HeaderTable), Error> {
        let parts = message.parts();
        let (exchange, key) = parts.names();
        let mark = parts.mark();
        let relevant = Relevant::find(parts.properties())?;
        let mut headers = HeaderTable::from_encoded(relevant.headers.unwrap_or_default())?;
        let keys = match mark {
            Some(LetterMark::OneKey) => routing_keys(key, &HeaderTable::default())?,
            _ => routing_keys(key, &headers)?,
        };
        self.record(&mut headers, exchange, keys, relevant.expiration, mark.is_some())?;
        let mut draft = self.draft(&parts, &headers)?;
        draft.mark(match (self.key, mark) {
            (None, None | Some(LetterMark::AllKeys)) => LetterMark::AllKeys,
            _ => LetterMark::OneKey,
        });
        Ok((draft, headers))
    }

    /// Returns the message with other headers, on its way to where it is dead-lettered.
    fn draft(&self, parts: &Parts<'_>, headers: &HeaderTable) -> Result<Draft, Error> {
        let changes = Changes { headers: Some(headers.as_encoded()), lasting: true, ..Default::default() };
        let (_, key) = parts.names();
        let mut draft = Draft::default();
        draft.start(self.exchange, self.key.unwrap_or(key));
        draft.header(&changes.apply(parts.header)?);
        draft.small(parts.small);
        draft.large(parts.large.to_vec());
        if self.key.is_none() {
            parts.blind_keys().for_each(|key| draft.blind_key(key));
        }
        Ok(draft)
    }

    fn record(
        &self,
        headers: &mut HeaderTable,
        exchange: &[u8],
        keys: Array,
        expiration: Option<&[u8]>,
        has_died: bool,
    ) -> Result<(), Error> {
        let earlier = match headers.get("x-death") {
            Some(ValueRef::Array(deaths)) if has_died => deaths
                .into_iter()
                .filter_map(|death| match death {
                    ValueRef::Table(death) => HeaderTable::from_encoded(death.as_encoded()).ok(),
                    _ => None,
                })
                .collect(),
            _ => Vec::new(),
        };
        let (same, mut deaths): (Vec<_>, Vec<_>) =
            earlier.into_iter().partition(|death| self.is(death.entries()));
        let first = match same.first() {
            Some(death) => counted(death, count(death).unwrap_or(0).saturating_add(1))?,
            None => {
                // Its expiration is the first field here.
                let mut entry = Table::new();
                if let Some(expiration) = expiration {
                    entry.push("original-expiration", text(expiration))?;
                }
                let rest = self.entry(exchange, keys, None)?;
                HeaderTable::from_encoded(&[entry.as_encoded(), rest.as_encoded()].concat())?
            }
        };
        deaths.insert(0, first);
        let places: &[&str] = if has_died { &["last"] } else { &["first", "last"] };
        for place in places {
            headers.insert(&format!("x-{place}-death-reason"), self.reason.name())?;
            headers.insert(&format!("x-{place}-death-queue"), text(self.queue.as_bytes()))?;
            headers.insert(&format!("x-{place}-death-exchange"), text(exchange))?;
        }
        headers.insert_tables("x-death", &deaths)?;
        headers.sort();
        Ok(())
    }

    /// A new entry of `x-death`.
    fn entry(&self, exchange: &[u8], keys: Array, expiration: Option<&[u8]>) -> Result<HeaderTable, Error> {
        let mut entry = Table::new();
        entry.push("count", 1_i64)?;
        entry.push("reason", self.reason.name())?;
        entry.push("queue", text(self.queue.as_bytes()))?;
        entry.push("time", Value::Timestamp(self.time))?;
        entry.push("exchange", text(exchange))?;
        entry.push("routing-keys", Value::Array(keys))?;
        if let Some(expiration) = expiration {
            entry.push("original-expiration", text(expiration))?;
        }
        HeaderTable::from_encoded(entry.as_encoded())
    }

    /// Notes the death in the headers of a message, which was published to an exchange with a
    /// routing key and an expiration.
    ///
    /// # Errors
    /// Headers that cannot be read.
    pub(crate) fn mark(
        &self,
        headers: &mut HeaderTable,
        exchange: &[u8],
        key: &[u8],
        expiration: Option<&[u8]>,
    ) -> Result<(), Error> {
        let entry = self.entry(exchange, routing_keys(key, headers)?, expiration)?;
        self.add(entry, exchange, headers)
    }

    /// Puts the entry first. If there is one for this queue and reason, its count grows and it
    /// comes first instead.
    fn add(&self, entry: HeaderTable, exchange: &[u8], headers: &mut HeaderTable) -> Result<(), Error> {
        let deaths = match headers.get("x-death") {
            Some(ValueRef::Array(earlier)) => {
                let mut earlier = grouped(earlier)?;
                let mut first = match earlier.iter().find(|death| self.is(death.entries())) {
                    None => entry,
                    Some(death) => counted(death, count(death).unwrap_or(0).saturating_add(1))?,
                };
                first.sort();
                earlier.retain(|death| !self.is(death.entries()));
                earlier.insert(0, first);
                earlier
            }
            Some(_) => vec![entry],
            None => {
                headers.insert("x-first-death-reason", self.reason.name())?;
                headers.insert("x-first-death-queue", text(self.queue.as_bytes()))?;
                headers.insert("x-first-death-exchange", text(exchange))?;
                vec![entry]
            }
        };
        headers.insert_tables("x-death", &deaths)?;
        headers.sort();
        Ok(())
    }

    fn is(&self, death: Entries<'_>) -> bool {
        is_text(death, "queue", self.queue.as_bytes())
            && is_text(death, "reason", self.reason.name().as_bytes())
    }
}

/// The queues that the message may not return to: it died in each of them for another reason than
/// rejection, and was not rejected since, so it would circulate endlessly.
pub(crate) fn passed(headers: &HeaderTable) -> HashSet<Bytes> {
    let mut queues = HashSet::new();
    let Some(ValueRef::Array(deaths)) = headers.get("x-death") else { return queues };
    for death in deaths {
        let ValueRef::Table(death) = death else { break };
        if is_text(death, "reason", b"rejected") {
            break;
        }
        if let Some(ValueRef::LongString(queue)) = get(death, "queue") {
            queues.insert(Bytes::copy_from_slice(queue));
        }
    }
    queues
}

fn is_text(death: Entries<'_>, key: &str, text: &[u8]) -> bool {
    matches!(get(death, key), Some(ValueRef::LongString(value)) if value == text)
}

fn text(bytes: &[u8]) -> LongString {
    LongString::from(Bytes::copy_from_slice(bytes))
}

/// The routing key, and the keys of the header `CC`.
fn routing_keys(key: &[u8], headers: &HeaderTable) -> Result<Array, Error> {
    let mut keys = Array::new();
    keys.push(text(key))?;
    if let Some(ValueRef::Array(copies)) = headers.get("CC") {
        texts(copies).try_for_each(|copy| keys.push(text(copy)))?;
    }
    Ok(keys)
}

fn count(death: &HeaderTable) -> Option<i64> {
    death.get("count")?.as_i64()
}

/// The entry with a new count, which comes first.
fn counted(death: &HeaderTable, count: i64) -> Result<HeaderTable, Error> {
    let mut first = HeaderTable::default();
    first.insert("count", count)?;
    let mut rest = death.clone();
    rest.remove("count");
    HeaderTable::from_encoded(&[first.as_encoded(), rest.as_encoded()].concat())
}

/// Merges the entries of old brokers, which have no count but are repeated, into one for each queue
/// and reason, with a count. Elements that are not entries are dropped.
fn grouped(deaths: Elements<'_>) -> Result<Vec<HeaderTable>, Error> {
    let mut groups: Vec<(HeaderTable, i64)> = Vec::new();
    let mut places = HashMap::new();
    for death in deaths {
        let ValueRef::Table(death) = death else { continue };
        let Ok(table) = HeaderTable::from_encoded(death.as_encoded()) else { continue };
        let place = *places.entry((raw(death, "queue"), raw(death, "reason"))).or_insert(groups.len());
        match groups.get_mut(place) {
            Some((_, times)) => *times += 1,
            None => groups.push((table, 1)),
        }
    }
    // RabbitMQ reverses their order.
    groups
        .into_iter()
        .rev()
        .map(|(death, times)| if count(&death).is_some() { Ok(death) } else { counted(&death, times) })
        .collect()
}
