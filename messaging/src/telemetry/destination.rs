//! The names of destinations, which are those of RabbitMQ's page of the conventions.

use std::sync::{Arc, OnceLock};

use opentelemetry::KeyValue;

/// The most destinations that are remembered; others are named anew each time.
const REMEMBERED: usize = 8;
/// The name when there is neither an exchange nor a routing key.
const DEFAULT: &str = "amq.default";
/// The fewest hexadecimal digits in a row, hyphens aside, that make a name a generated one: those
/// of a UUID.
const DIGITS: usize = 32;

/// Where messages go to, or come from.
#[derive(Debug)]
pub(crate) struct Destination {
    exchange: Box<str>,
    routing_key: Arc<str>,
    /// `EXCHANGE:ROUTING_KEY[:QUEUE]`, without what is empty or said twice.
    pub(super) full: Arc<str>,
    /// The same without the names that are temporary, for names of spans; `None` if nothing is
    /// left.
    pub(super) lasting: Option<Arc<str>>,
    /// One name of which there are few, for metrics: the queue, or the exchange when publishing to
    /// one.
    pub(super) entity: Option<Arc<str>>,
    pub(super) is_temporary: bool,
    /// Set when somebody other than the user chose the name.
    pub(super) is_anonymous: bool,
    /// What operations on it have in common, by the operation.
    pub(super) known: [OnceLock<Known>; OPERATIONS],
}

/// The number of operations of which something is known.
pub(super) const OPERATIONS: usize = 7;

/// What is the same each time that an operation is performed on a destination.
#[derive(Clone, Debug)]
pub(super) struct Known {
    /// The name of the span.
    pub(super) name: Box<str>,
    /// The attributes of the metrics, if it succeeds.
    pub(super) measured: Box<[KeyValue]>,
}

/// The end of a transport that destinations are named for.
#[derive(Debug)]
enum Side {
    /// Messages are published to the exchange.
    Exchange(Box<str>),
    /// Messages come from the queue, whose name is empty if it is not known.
    Queue { name: Box<str>, is_temporary: bool },
}

/// The destinations of one exchange or queue, as far as they are remembered.
#[derive(Debug)]
pub(crate) struct Destinations {
    side: Side,
    remembered: [OnceLock<Arc<Destination>>; REMEMBERED],
}

impl Destinations {
    /// Returns the destinations that messages to this exchange have.
    pub(crate) fn of_exchange(name: &str) -> Self {
        Destinations { side: Side::Exchange(name.into()), remembered: Default::default() }
    }

    /// Returns the destinations that messages from this queue have. It `is_temporary` if it goes
    /// with its connection or its consumers.
    pub(crate) fn of_queue(name: &str, is_temporary: bool) -> Self {
        let is_temporary = is_temporary || is_generated(name);
        Destinations { side: Side::Queue { name: name.into(), is_temporary }, remembered: Default::default() }
    }

    /// Returns the destination of messages with this routing key to this side's exchange.
    pub(super) fn to(&self, routing_key: &str) -> Arc<Destination> {
        match &self.side {
            Side::Exchange(exchange) => self.of(exchange, routing_key),
            Side::Queue { .. } => self.of("", routing_key),
        }
    }

    /// Returns the destination of messages that were published like this.
    pub(super) fn of(&self, exchange: &str, routing_key: &str) -> Arc<Destination> {
        let mut new = None;
        for place in &self.remembered {
            let known =
                place.get_or_init(|| new.get_or_insert_with(|| self.named(exchange, routing_key)).clone());
            if *known.routing_key == *routing_key && *known.exchange == *exchange {
                return known.clone();
            }
        }
        new.unwrap_or_else(|| self.named(exchange, routing_key))
    }

    /// Returns the destination of all messages of a batch, which may have different routing keys.
    pub(super) fn of_batch(&self) -> Arc<Destination> {
        match &self.side {
            Side::Exchange(exchange) => self.of(exchange, ""),
            Side::Queue { .. } => self.of("", ""),
        }
    }

    fn named(&self, exchange: &str, routing_key: &str) -> Arc<Destination> {
        let (queue, is_temporary_queue) = match &self.side {
            Side::Exchange(_) => ("", false),
            Side::Queue { name, is_temporary } => (&**name, *is_temporary),
        };
        let key_names_queue = exchange.is_empty() || queue == routing_key;
        let is_key_temporary = is_generated(routing_key) || (is_temporary_queue && key_names_queue);
        let parts = [
            (exchange, is_generated(exchange)),
            (routing_key, is_key_temporary),
            (if queue == routing_key { "" } else { queue }, is_temporary_queue),
        ];
        let full = joined(parts.iter().map(|(part, _)| *part)).unwrap_or_else(|| DEFAULT.into());
        let lasting = joined(parts.iter().filter(|(_, is_temporary)| !is_temporary).map(|(part, _)| *part));
        let is_nothing = parts.iter().all(|(part, _)| part.is_empty());
        let entity = match &self.side {
            Side::Queue { name, is_temporary: false } if !name.is_empty() => Some(name.as_ref().into()),
            Side::Exchange(_) if !exchange.is_empty() => Some(exchange.into()),
            _ => lasting.clone(),
        };
        let is_temporary = is_temporary_queue || (exchange.is_empty() && is_key_temporary);
        let is_server_named = |name: &str| name.starts_with(SERVER_NAMED);
        Arc::new(Destination {
            exchange: exchange.into(),
            routing_key: routing_key.into(),
            lasting: if is_nothing { Some(full.clone()) } else { lasting },
            full,
            entity,
            is_temporary,
            known: Default::default(),
            is_anonymous: is_server_named(queue) || (exchange.is_empty() && is_server_named(routing_key)),
        })
    }
}

impl Destination {
    pub(super) fn routing_key(&self) -> &Arc<str> {
        &self.routing_key
    }
}

/// The beginning of the names that the broker gives to queues.
const SERVER_NAMED: &str = "amq.gen-";
/// The beginning of the names that stand for a client's own replies
/// (<https://www.rabbitmq.com/docs/direct-reply-to>).
const DIRECT_REPLY: &str = "amq.rabbitmq.reply-to";

/// Tells whether a name was made up by a program, so that it is likely not to be used again: the
/// broker's own, and those with a UUID, as reply queues have.
fn is_generated(name: &str) -> bool {
    if name.starts_with(SERVER_NAMED) || name.starts_with(DIRECT_REPLY) {
        return true;
    }
    if name.len() < DIGITS {
        return false;
    }
    let mut digits = 0;
    name.bytes().any(|byte| {
        digits = match byte {
            b'-' => digits,
            _ if byte.is_ascii_hexdigit() => digits + 1,
            _ => 0,
        };
        digits >= DIGITS
    })
}

fn joined<'a>(parts: impl Iterator<Item = &'a str>) -> Option<Arc<str>> {
    let mut joined = String::new();
    for part in parts.filter(|part| !part.is_empty()) {
        if !joined.is_empty() {
            joined.push(':');
        }
        joined.push_str(part);
    }
    (!joined.is_empty()).then(|| joined.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: &str = "5fcebaf0-7d46-4aa4-8f7a-1e9546ccf035";

    fn named(destinations: &Destinations, exchange: &str, key: &str) -> (String, String) {
        let named = destinations.of(exchange, key);
        (named.full.to_string(), named.lasting.as_deref().unwrap_or("none").to_owned())
    }

    #[test]
    fn a_destination_has_the_parts_that_are_not_empty_or_said_already() {
        let to = |exchange: &str, key: &str| named(&Destinations::of_exchange(exchange), exchange, key).0;
        assert_eq!(to("jobs", "image.resize"), "jobs:image.resize");
        assert_eq!(to("jobs", ""), "jobs");
        assert_eq!(to("", "resize"), "resize");
        assert_eq!(to("", ""), "amq.default");
        let from = Destinations::of_queue("resize", false);
        assert_eq!(named(&from, "jobs", "image.resize").0, "jobs:image.resize:resize");
        assert_eq!(named(&from, "", "resize").0, "resize");
        assert_eq!(named(&from, "jobs", "resize").0, "jobs:resize");
    }

    #[test]
    fn temporary_names_are_left_out_of_the_names_of_spans() {
        let reply = format!("reply_{}", UUID.replace('-', ""));
        let to = |exchange: &str, key: &str| named(&Destinations::of_exchange(exchange), exchange, key).1;
        assert_eq!(to("", &reply), "none");
        assert_eq!(to("", "amq.gen-JzTY20BRgKO-HjmUJj0wLg"), "none");
        assert_eq!(to("", "amq.rabbitmq.reply-to.g1"), "none");
        assert_eq!(to("reply.celery.pidbox", UUID), "reply.celery.pidbox");
        assert_eq!(to("jobs", "image.resize"), "jobs:image.resize");
        assert_eq!(to("", ""), "amq.default");
        let own = Destinations::of_queue("inbox", true);
        assert_eq!(named(&own, "jobs", "image.resize").1, "jobs:image.resize");
        assert_eq!(named(&own, "", "inbox").1, "none");
        assert!(own.of("", "inbox").is_temporary);
        assert!(own.of("jobs", "x").entity.as_deref() == Some("jobs:x"));
    }

    #[test]
    fn metrics_have_the_queue_or_the_exchange() {
        let entity = |destinations: &Destinations, exchange: &str, key: &str| {
            destinations.of(exchange, key).entity.as_deref().map(str::to_owned)
        };
        let jobs = Destinations::of_exchange("jobs");
        assert_eq!(entity(&jobs, "jobs", "image.1").as_deref(), Some("jobs"));
        let default = Destinations::of_exchange("");
        assert_eq!(entity(&default, "", "resize").as_deref(), Some("resize"));
        assert_eq!(entity(&default, "", &format!("reply_{UUID}")), None);
        let queue = Destinations::of_queue("resize", false);
        assert_eq!(entity(&queue, "jobs", "image.1").as_deref(), Some("resize"));
    }

    #[test]
    fn a_bounded_number_is_remembered() {
        let jobs = Destinations::of_exchange("jobs");
        for number in 0..2 * REMEMBERED {
            assert_eq!(*jobs.to(&number.to_string()).full, format!("jobs:{number}"));
        }
        assert_eq!(jobs.remembered.iter().filter(|place| place.get().is_some()).count(), REMEMBERED);
        assert!(Arc::ptr_eq(&jobs.to("0"), &jobs.to("0")));
    }
}
