//! Copies of what exchanges route.

use std::str::FromStr;

use amqp_client::{Binding, Channel, Connection, ConsumeOptions, Exchange, Queue};

use super::firehose;
use crate::{commands::receiving::sources::Subscribed, error::Error};

/// An exchange to tap: `EXCHANGE`, or `EXCHANGE:KEY` for what it routes by this key or pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tap {
    exchange: String,
    key: Option<String>,
}

impl FromStr for Tap {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (exchange, key) = match text.split_once(':') {
            Some((exchange, key)) => (exchange, Some(key)),
            None => (text, None),
        };
        Ok(Tap { exchange: exchange.to_owned(), key: key.map(str::to_owned) })
    }
}

impl Tap {
    /// Tells whether it is the default exchange, which has no bindings: the firehose copies what is
    /// published there.
    pub(crate) fn is_of_default(&self) -> bool {
        self.exchange.is_empty()
    }
}

/// Declares a queue that ends with the connection, binds it to all exchanges, and consumes from it.
/// Nobody else is affected.
///
/// # Errors
/// [`Error::Broker`]; [`Error::Usage`] for a direct exchange without keys, as there is no binding
/// for everything.
pub(crate) async fn tap(
    connection: &Connection,
    channel: &Channel,
    taps: &[Tap],
    max_length: Option<u32>,
) -> Result<Vec<Subscribed>, Error> {
    let queue = Queue::new("").exclusive(true).auto_delete(true);
    let queue = max_length.map_or(queue.clone(), |most| queue.max_length(most));
    let declared = channel.declare(queue).await.map_err(Error::broker("declare a temporary queue"))?;
    for tap in taps {
        let (exchange, key) = match (tap.is_of_default(), &tap.key) {
            (true, _) => (firehose::EXCHANGE, firehose::DEFAULT_EXCHANGE_KEY),
            (false, Some(key)) => (tap.exchange.as_str(), key.as_str()),
            // This is every key for a topic exchange. A fanout exchange compares nothing, and
            // neither does a headers exchange without arguments.
            (false, None) => (tap.exchange.as_str(), "#"),
        };
        if !tap.is_of_default() && tap.key.is_none() && is_direct(connection, exchange).await? {
            return Err(Error::Usage(format!(
                "exchange {exchange:?} is direct, and routes by keys alone: name them, as {exchange}:KEY"
            )));
        }
        let what = format!("bind a queue to exchange {exchange:?}");
        let binding = Binding::new(declared.name.as_str(), exchange).routing_key(key);
        channel.bind(binding).await.map_err(Error::broker(what))?;
    }
    let consumer = channel.consume(&declared, ConsumeOptions::new().no_ack(true)).await;
    let consumer = consumer.map_err(Error::broker("consume from a temporary queue"))?;
    Ok(vec![Subscribed { consumer, queue: None }])
}

/// Tells whether an exchange is direct. AMQP has no question for that; but the refusal of a
/// declaration with another type names the type that there is.
async fn is_direct(connection: &Connection, exchange: &str) -> Result<bool, Error> {
    let what = || format!("check exchange {exchange:?}");
    let probe = connection.open_channel().await.map_err(Error::broker("open a channel"))?;
    // An exchange that is not there must not be made.
    let passive = Exchange::fanout(exchange).passive(true);
    probe.declare(passive).await.map_err(Error::broker(what()))?;
    let Err(refused) = probe.declare(Exchange::fanout(exchange)).await else { return Ok(false) };
    let is_direct = |close: &amqp_client::Close| close.text.contains("current is 'direct'");
    match refused.close() {
        // Without the permission for the question the answer is unknown; the binding shows.
        Some(close) => Ok(is_direct(close)),
        None => Err(Error::broker(what())(refused)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_colon_separates_the_key() {
        let tap = |exchange: &str, key: Option<&str>| Tap {
            exchange: exchange.to_owned(),
            key: key.map(str::to_owned),
        };
        assert_eq!("e".parse(), Ok(tap("e", None)));
        assert_eq!("e:a.#".parse(), Ok(tap("e", Some("a.#"))));
        assert_eq!("".parse(), Ok(tap("", None)));
    }
}
