//! The properties of a message that is moved to another queue. They are marked with what happened
//! to it, as bytes, whatever else they contain.

use amqp_codec::{EncodedProperties, Error, RawProperties};

use crate::consume::settle::{
    on_failure::{EXCHANGE, FAILURE, RETRIES, ROUTING_KEY},
    stowed,
};

/// The most bytes of an error text that are kept with a message.
const FAILURE_LIMIT: usize = 1000;

/// The marks that say what happened to a message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Marks<'a> {
    /// The queue that it was consumed from.
    pub(crate) queue: &'a str,
    /// The number of failed attempts to handle it.
    pub(crate) retries: u32,
    /// The error of the last attempt.
    pub(crate) failure: &'a str,
    /// The exchange that it came from.
    pub(crate) exchange: &'a str,
    pub(crate) routing_key: &'a str,
}

/// The kind of queue that it is moved to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whereto {
    /// A queue from which it returns.
    Waiting,
    /// A queue in which it stays.
    Dead,
}

impl Marks<'_> {
    /// Adds the marks to the message's properties.
    ///
    /// # Errors
    /// When the properties cannot be split, or are larger than the wire format allows.
    pub(crate) fn put_on(
        &self,
        properties: &EncodedProperties,
        whereto: Whereto,
    ) -> Result<EncodedProperties, Error> {
        let mut raw = RawProperties::split(properties)?;
        let mut headers = raw.headers()?;
        match whereto {
            Whereto::Waiting => stowed::stow(&mut headers, self.queue)?,
            Whereto::Dead => {
                stowed::restore(&mut headers)?;
                stowed::forget_waiting(&mut headers, self.queue)?;
                stowed::stow_acting(&mut headers)?;
            }
        }
        let failure = self.failure.get(..self.failure.floor_char_boundary(FAILURE_LIMIT)).unwrap_or_default();
        headers.insert(RETRIES, i64::from(self.retries))?;
        headers.insert(FAILURE, failure)?;
        // A message returns by way of the default exchange, so the original exchange is noted.
        if headers.get(EXCHANGE).is_none() {
            headers.insert(EXCHANGE, self.exchange)?;
            headers.insert(ROUTING_KEY, self.routing_key)?;
        }
        raw.set_headers(&headers)?;
        // The broker compares it with the user of the connection, which may be another one here.
        raw.remove("user_id");
        // An expiration would remove the message while it waits, or shorten its pause.
        raw.remove("expiration");
        Ok(raw.join())
    }
}

#[cfg(test)]
mod tests {
    use amqp_codec::{HeaderTable, Properties, ShortString};

    use super::*;
    use crate::consume::{header, settle::on_failure::retries};

    const MARKS: Marks<'static> =
        Marks { queue: "q", retries: 1, failure: "no", exchange: "events", routing_key: "a.b" };

    #[test]
    fn a_message_remembers_its_first_route_and_its_last_failure() {
        let user_id = Some(ShortString::from_static("guest"));
        let before = Properties { user_id, priority: Some(3), ..Properties::default() }.encode().unwrap();
        let first = MARKS.put_on(&before, Whereto::Waiting).unwrap();
        assert_eq!(retries(&first.decode().unwrap()), 1);
        let failure = "é".repeat(1000);
        let again = Marks { retries: 2, failure: &failure, exchange: "", routing_key: "q", ..MARKS };
        for whereto in [Whereto::Waiting, Whereto::Dead] {
            let second = again.put_on(&first, whereto).unwrap().decode().unwrap();
            assert_eq!((retries(&second), second.priority, &second.user_id), (2, Some(3), &None));
            assert_eq!(header::text(&second, EXCHANGE).as_deref(), Some("events"));
            assert_eq!(header::text(&second, ROUTING_KEY).as_deref(), Some("a.b"));
            assert_eq!(header::text(&second, FAILURE).unwrap().len(), 1000);
        }
    }

    #[test]
    fn headers_that_cannot_be_read_are_passed_on() {
        let deep = (0..40).fold(Vec::new(), |inner: Vec<u8>, _| {
            let length = u32::try_from(inner.len()).unwrap();
            [&b"\x01dF"[..], &length.to_be_bytes(), &inner].concat()
        });
        let mut raw = RawProperties::default();
        raw.set_headers(&HeaderTable::from_encoded(&deep).unwrap()).unwrap();
        let marked = MARKS.put_on(&raw.join(), Whereto::Dead).unwrap();
        let mut headers = RawProperties::split(&marked).unwrap().headers().unwrap();
        for name in [RETRIES, FAILURE, EXCHANGE, ROUTING_KEY] {
            assert!(headers.remove(name), "{name}");
        }
        assert_eq!(headers.as_encoded(), deep);
    }
}
