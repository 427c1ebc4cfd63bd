//! Exchanges, queues and bindings as values, declared together.

use amqp_client::{Channel, Exchange, Queue};

use crate::error::Error;

/// That messages to an exchange whose routing key fits go to a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Binding {
    pub(crate) queue: String,
    pub(crate) exchange: String,
    pub(crate) routing_key: String,
}

/// What has to exist before a message is published or consumed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Entities {
    pub(crate) exchanges: Vec<Exchange>,
    pub(crate) queues: Vec<Queue>,
    pub(crate) bindings: Vec<Binding>,
}

impl Entities {
    pub(crate) fn is_empty(&self) -> bool {
        self.exchanges.is_empty() && self.queues.is_empty() && self.bindings.is_empty()
    }

    /// Declares exchanges, queues and bindings, in this order.
    pub(crate) async fn declare(&self, channel: &Channel) -> Result<(), Error> {
        for exchange in self.exchanges.iter().filter(|exchange| !is_predeclared(exchange.name())) {
            let declared = channel.declare(exchange).await;
            declared.map_err(Error::declaring("exchange", exchange.name()))?;
        }
        for queue in &self.queues {
            declare_queue(channel, queue).await?;
        }
        for Binding { queue, exchange, routing_key } in &self.bindings {
            let bound = channel.bind(queue, exchange, routing_key).await;
            bound.map_err(Error::broker(format_args!("bind queue {queue:?} to exchange {exchange:?}")))?;
        }
        Ok(())
    }
}

/// Declares a queue; its name, which the broker gives when it is empty.
pub(crate) async fn declare_queue(channel: &Channel, queue: &Queue) -> Result<String, Error> {
    let declared = channel.declare(queue).await;
    let info = declared.map_err(Error::declaring("queue", queue.name()))?;
    Ok(info.name)
}

/// The default exchange and those of the broker itself: nobody may declare them.
fn is_predeclared(exchange: &str) -> bool {
    exchange.is_empty() || exchange.starts_with("amq.")
}
