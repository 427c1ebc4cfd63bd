//! The sources of messages: queues, or bindings of exchanges.

use std::{str::FromStr, time::Duration};

use amqp_client::{Binding, Channel, ConsumeOptions, Consumer, Queue, StreamOffset};
use chrono::DateTime;

use crate::error::Error;

/// The sources of messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Queue(String),
    /// What an exchange routes by a key, by way of a queue that ends with the program.
    Binding {
        exchange: String,
        key: String,
    },
}

impl FromStr for Source {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text.split_once(':') {
            None => Source::Queue(text.to_owned()),
            Some(("", _)) => {
                return Err(
                    "the default exchange has no bindings: name a queue, with --queue if there is a colon \
                            in its name"
                        .to_owned(),
                );
            }
            Some((exchange, key)) => Source::Binding { exchange: exchange.to_owned(), key: key.to_owned() },
        })
    }
}

/// Where in a stream to begin.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Offset(pub(crate) StreamOffset);

impl FromStr for Offset {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(Offset(match text {
            "first" => StreamOffset::First,
            "last" => StreamOffset::Last,
            "next" => StreamOffset::Next,
            _ => {
                match (text.parse(), seconds(text), ago(text)) {
                    (Ok(offset), ..) => StreamOffset::Offset(offset),
                    (_, Some(seconds), _) => StreamOffset::Timestamp(seconds),
                    (.., Some(ago)) => StreamOffset::Ago(ago),
                    _ => {
                        return Err("an offset is first, last, next, a number, an age such as 10m, or a time such as \
                                 2026-01-31T12:00:00Z"
                        .to_owned());
                    }
                }
            }
        }))
    }
}

/// The seconds since 1970 of a time in RFC 3339.
fn seconds(time: &str) -> Option<u64> {
    DateTime::parse_from_rfc3339(time).ok()?.timestamp().try_into().ok()
}

/// The time of an age: a number of seconds, minutes, hours or days, as in `90s`.
fn ago(age: &str) -> Option<Duration> {
    let (number, unit) = age.split_at_checked(age.len().checked_sub(1)?)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" | "D" => 86_400,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(seconds).map(Duration::from_secs)
}

/// A consumer, and the queue to name in what is printed.
pub(crate) struct Subscribed {
    pub(crate) consumer: Consumer,
    pub(crate) queue: Option<String>,
}

/// Consumes from all of them: a consumer for each queue, and one for all bindings.
///
/// # Errors
/// [`Error::Broker`].
pub(crate) async fn subscribe(
    channel: &Channel,
    sources: &[Source],
    options: impl Fn() -> Result<ConsumeOptions, Error>,
) -> Result<Vec<Subscribed>, Error> {
    let mut all = Vec::new();
    let mut temporary = None;
    for source in sources {
        match source {
            Source::Queue(queue) => {
                let consumer = channel.consume(queue, options()?).await;
                let consumer = consumer.map_err(Error::broker(format!("consume from queue {queue:?}")))?;
                all.push(Subscribed { consumer, queue: Some(queue.clone()) });
            }
            Source::Binding { exchange, key } => {
                let queue = match &temporary {
                    Some(queue) => queue,
                    None => temporary.insert(temporary_queue(channel).await?),
                };
                let binding = Binding::new(queue.as_str(), exchange).routing_key(key);
                let what = format!("bind a queue to exchange {exchange:?} with key {key:?}");
                channel.bind(binding).await.map_err(Error::broker(what))?;
            }
        }
    }
    if let Some(queue) = temporary {
        let consumer = channel.consume(&queue, options()?).await;
        let consumer = consumer.map_err(Error::broker(format!("consume from queue {queue:?}")))?;
        all.push(Subscribed { consumer, queue: None });
    }
    Ok(all)
}

/// Declares a queue that ends with the connection, and returns the name that the broker gave it.
///
/// # Errors
/// [`Error::Broker`].
pub(crate) async fn temporary_queue(channel: &Channel) -> Result<String, Error> {
    let declared = channel.declare(Queue::new("").exclusive(true).auto_delete(true)).await;
    Ok(declared.map_err(Error::broker("declare a temporary queue"))?.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_colon_makes_a_binding() {
        let binding = |exchange: &str, key: &str| {
            Ok(Source::Binding { exchange: exchange.to_owned(), key: key.to_owned() })
        };
        assert_eq!("jobs".parse(), Ok(Source::Queue("jobs".to_owned())));
        assert_eq!("events:a.#".parse(), binding("events", "a.#"));
        assert_eq!("events:a:b".parse(), binding("events", "a:b"));
        assert_eq!("events:".parse(), binding("events", ""));
        assert!(":key".parse::<Source>().is_err());
    }

    #[test]
    fn offsets_are_words_numbers_or_times() {
        assert_eq!("first".parse(), Ok(Offset(StreamOffset::First)));
        assert_eq!("17".parse(), Ok(Offset(StreamOffset::Offset(17))));
        assert_eq!("1970-01-02T00:00:00Z".parse(), Ok(Offset(StreamOffset::Timestamp(86_400))));
        assert_eq!("2h".parse(), Ok(Offset(StreamOffset::Ago(Duration::from_secs(7200)))));
        assert!("h".parse::<Offset>().is_err() && "5\u{fc}".parse::<Offset>().is_err());
        assert!("-1".parse::<Offset>().is_err());
    }
}
