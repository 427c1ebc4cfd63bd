//! Renames the headers that have a meaning for brokers while a message is moved: it must go to one
//! queue only, and must not be mistaken for another message.

use amqp_codec::{EncodedProperties, Entries, Error, HeaderTable, RawProperties, ValueRef};
use memchr::memmem;

use crate::consume::settle::on_failure::is_waiting_queue;

/// The prefix of a renamed header.
const PREFIX: &str = "x-original-";

/// Headers with further routing keys, and the delivery count of quorum queues, which LavinMQ's
/// queues use as well. The handler sees them under these names again.
const ACTING: [&str; 3] = ["CC", "BCC", "x-delivery-count"];
/// The header that says where a message was dead-lettered. RabbitMQ drops a message that goes in
/// circles through the same queues, and so does LavinMQ.
const DEATHS: &str = "x-death";
/// The headers that accompany it, the queue first.
const FIRST_DEATH: [&str; 3] = ["x-first-death-queue", "x-first-death-reason", "x-first-death-exchange"];
const LAST_DEATH: [&str; 3] = ["x-last-death-queue", "x-last-death-reason", "x-last-death-exchange"];

/// Renames all headers that would take effect on the way to a queue where the message waits.
///
/// # Errors
/// When the headers become larger than the wire format allows.
pub(crate) fn stow(headers: &mut HeaderTable, queue: &str) -> Result<(), Error> {
    stow_acting(headers)?;
    forget_waiting(headers, queue)?;
    let stowed = original(DEATHS);
    let deaths = merged(headers.get(DEATHS), headers.get(&stowed));
    headers.remove(DEATHS);
    if !deaths.is_empty() {
        headers.insert_tables(&stowed, &deaths)?;
    }
    for name in FIRST_DEATH {
        if headers.get(&original(name)).is_some() {
            headers.remove(name);
        }
    }
    for name in FIRST_DEATH.iter().chain(&LAST_DEATH) {
        headers.rename(name, &original(name))?;
    }
    Ok(())
}

/// Renames only the headers that take effect when a message is published: the message is to stay in
/// the queue it goes to.
///
/// # Errors
/// When the headers become larger than the wire format allows.
pub(crate) fn stow_acting(headers: &mut HeaderTable) -> Result<(), Error> {
    for name in ACTING {
        headers.rename(name, &original(name))?;
    }
    Ok(())
}

/// Returns the properties with all headers under their own names; `None` when no header is renamed,
/// or they cannot be read.
pub(crate) fn restored(properties: &EncodedProperties) -> Option<EncodedProperties> {
    memmem::find(properties.as_encoded(), PREFIX.as_bytes())?;
    let mut raw = RawProperties::split(properties).ok()?;
    let mut headers = raw.headers().ok()?;
    if !restore(&mut headers).ok()? {
        return None;
    }
    raw.set_headers(&headers).ok()?;
    Some(raw.join())
}

/// Gives all [renamed](stow) headers their own names back. What the broker has added meanwhile
/// stays, where both can be kept. Returns whether there was anything to do.
///
/// # Errors
/// When the headers become larger than the wire format allows.
pub(crate) fn restore(headers: &mut HeaderTable) -> Result<bool, Error> {
    let mut is_changed = false;
    let stowed = original(DEATHS);
    if headers.get(&stowed).is_some() {
        let deaths = merged(headers.get(DEATHS), headers.get(&stowed));
        headers.remove(&stowed);
        headers.insert_tables(DEATHS, &deaths)?;
        is_changed = true;
    }
    let (delivery_count, others) = ("x-delivery-count", ["CC", "BCC"]);
    for name in others.iter().chain(&FIRST_DEATH).chain(&LAST_DEATH) {
        is_changed |= headers.rename(&original(name), name)?;
    }
    // The count that the present queue has set is the current one.
    if headers.get(delivery_count).is_none() {
        is_changed |= headers.rename(&original(delivery_count), delivery_count)?;
    }
    is_changed |= headers.remove(&original(delivery_count));
    Ok(is_changed)
}

/// Removes what the broker noted when the message waited in one of the retry queues.
///
/// # Errors
/// When the headers become larger than the wire format allows.
pub(crate) fn forget_waiting(headers: &mut HeaderTable, queue: &str) -> Result<(), Error> {
    let Some(ValueRef::Array(deaths)) = headers.get(DEATHS) else { return Ok(()) };
    let is_of_waiting = |death: &ValueRef<'_>| match death {
        ValueRef::Table(death) => text(*death, "queue").is_some_and(|died| is_waiting_queue(died, queue)),
        _ => true,
    };
    let others: Vec<_> = deaths.filter(|death| !is_of_waiting(death)).filter_map(table).collect();
    headers.remove(DEATHS);
    if !others.is_empty() {
        headers.insert_tables(DEATHS, &others)?;
    }
    for group in [FIRST_DEATH, LAST_DEATH] {
        if text(headers.entries(), group[0]).is_some_and(|died| is_waiting_queue(died, queue)) {
            for name in group {
                headers.remove(name);
            }
        }
    }
    Ok(())
}

fn original(name: &str) -> String {
    format!("{PREFIX}{name}")
}

/// Returns the newer deaths, followed by the older ones of another queue or reason. Where queue and
/// reason are the same, the counts are added.
fn merged(newer: Option<ValueRef<'_>>, older: Option<ValueRef<'_>>) -> Vec<HeaderTable> {
    let tables = |deaths: Option<ValueRef<'_>>| match deaths {
        Some(ValueRef::Array(deaths)) => deaths.filter_map(table).collect(),
        _ => Vec::new(),
    };
    let mut merged: Vec<HeaderTable> = tables(newer);
    for death in tables(older) {
        let is_same = |other: &&mut HeaderTable| {
            ["queue", "reason"].iter().all(|name| other.get(name) == death.get(name))
        };
        match merged.iter_mut().find(is_same) {
            None => merged.push(death),
            Some(same) => {
                let times = count(same).saturating_add(count(&death));
                let counted = same.insert("count", times);
                debug_assert!(counted.is_ok(), "a short name and a flat value always fit");
            }
        }
    }
    merged
}

fn count(death: &HeaderTable) -> i64 {
    death.get("count").and_then(|count| count.as_i64()).unwrap_or(1)
}

fn table(death: ValueRef<'_>) -> Option<HeaderTable> {
    match death {
        ValueRef::Table(death) => HeaderTable::from_encoded(death.as_encoded()).ok(),
        _ => None,
    }
}

fn text<'a>(mut entries: Entries<'a>, name: &str) -> Option<&'a str> {
    match entries.find(|(other, _)| *other == name.as_bytes())?.1 {
        ValueRef::LongString(text) => str::from_utf8(text).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use amqp_codec::{Array, Table, Value};

    use super::*;

    fn death(queue: &str, reason: &str, count: i64) -> Table {
        let mut death = Table::new();
        for (name, value) in
            [("count", Value::from(count)), ("reason", reason.into()), ("queue", queue.into())]
        {
            death.push(name, value).unwrap();
        }
        death
    }

    fn deaths(of: &[(&str, &str, i64)]) -> Array {
        let mut array = Array::new();
        of.iter().for_each(|(queue, reason, count)| array.push(death(queue, reason, *count)).unwrap());
        array
    }

    fn headers(of: &[(&str, Value)]) -> HeaderTable {
        let mut headers = HeaderTable::new();
        of.iter().for_each(|(name, value)| headers.insert(name, value.clone()).unwrap());
        headers
    }

    fn told(headers: &HeaderTable) -> Vec<(String, String, i64)> {
        let Some(ValueRef::Array(deaths)) = headers.get(DEATHS) else { return Vec::new() };
        let told = |death: HeaderTable| {
            let text = |name| text(death.entries(), name).unwrap().to_owned();
            (text("queue"), text("reason"), count(&death))
        };
        deaths.filter_map(table).map(told).collect()
    }

    #[test]
    fn what_is_stowed_has_other_names_and_is_there_again_when_it_is_restored() {
        let mut copies = Array::new();
        copies.push("other").unwrap();
        let before = headers(&[
            ("mine", 7.into()),
            ("CC", copies.clone().into()),
            ("BCC", copies.into()),
            ("x-delivery-count", 3.into()),
            ("x-death", deaths(&[("old", "rejected", 2)]).into()),
            ("x-first-death-queue", "old".into()),
            ("x-first-death-reason", "rejected".into()),
        ]);
        let mut stowed = before.clone();
        stow(&mut stowed, "q").unwrap();
        let acting = [&ACTING[..], &[DEATHS], &FIRST_DEATH, &LAST_DEATH].concat();
        assert!(acting.iter().all(|name| stowed.get(name).is_none()), "{stowed:?}");
        assert_eq!(stowed.get("mine"), before.get("mine"));

        // This is what the broker adds after the wait.
        let mut waited = stowed.clone();
        waited.insert("x-death", deaths(&[("q.retry.20", "expired", 1)])).unwrap();
        waited.insert("x-first-death-queue", "q.retry.20").unwrap();
        let mut restored = waited.clone();
        assert_eq!(restore(&mut restored), Ok(true));
        assert_eq!(restore(&mut restored.clone()), Ok(false));
        let mut raw = RawProperties::default();
        raw.set_headers(&restored).unwrap();
        let properties = raw.join();
        assert_eq!(super::restored(&properties), None);
        raw.set_headers(&waited).unwrap();
        assert_eq!(super::restored(&raw.join()), Some(properties));
        for name in ["mine", "CC", "BCC", "x-delivery-count", "x-first-death-queue", "x-first-death-reason"] {
            assert_eq!(restored.get(name), before.get(name), "{name}");
        }
        let expected = [("q.retry.20", "expired", 1), ("old", "rejected", 2)];
        let expected = expected.map(|(queue, reason, count)| (queue.to_owned(), reason.to_owned(), count));
        assert_eq!(told(&restored), expected);

        // A second wait adds nothing to what the first one left.
        stow(&mut waited, "q").unwrap();
        let sorted = |mut headers: HeaderTable| {
            headers.sort();
            headers
        };
        assert_eq!(sorted(waited), sorted(stowed));
    }

    #[test]
    fn deaths_of_the_same_kind_are_counted_together() {
        let mut table = headers(&[
            ("x-death", deaths(&[("q", "rejected", 1), ("q.retry.1", "expired", 5)]).into()),
            ("x-original-x-death", deaths(&[("q", "rejected", 2), ("q", "expired", 1)]).into()),
        ]);
        stow(&mut table, "q").unwrap();
        restore(&mut table).unwrap();
        let expected = [("q", "rejected", 3), ("q", "expired", 1)];
        assert_eq!(
            told(&table),
            expected.map(|(queue, reason, count)| (queue.to_owned(), reason.to_owned(), count))
        );
    }

    #[test]
    fn the_count_of_the_present_queue_stays() {
        let mut table = headers(&[("x-delivery-count", 1.into()), ("x-original-x-delivery-count", 9.into())]);
        assert_eq!(restore(&mut table), Ok(true));
        assert_eq!(table.entries().collect::<Vec<_>>(), [(&b"x-delivery-count"[..], ValueRef::I32(1))]);
    }
}
