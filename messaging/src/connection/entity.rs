//! Exchanges, queues and bindings as values that are declared together.

use amqp_client::{Channel, Declare, Exchange, Queue};

use crate::{
    connection::{
        binding::{Binding, BindingKey},
        setup_error::SetupError,
    },
    error::conflict::Conflict,
};

/// A queue or an exchange: either becomes one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Entity {
    /// A queue.
    Queue(Queue),
    /// An exchange.
    Exchange(Exchange),
}

impl From<Queue> for Entity {
    fn from(queue: Queue) -> Self {
        Entity::Queue(queue)
    }
}

impl From<&Queue> for Entity {
    fn from(queue: &Queue) -> Self {
        Entity::Queue(queue.clone())
    }
}

impl From<Exchange> for Entity {
    fn from(exchange: Exchange) -> Self {
        Entity::Exchange(exchange)
    }
}

impl From<&Exchange> for Entity {
    fn from(exchange: &Exchange) -> Self {
        Entity::Exchange(exchange.clone())
    }
}

/// The entities that have to exist before a message is published or consumed.
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

    pub(crate) fn add(&mut self, entity: Entity) {
        match entity {
            Entity::Queue(queue) => self.queues.push(queue),
            Entity::Exchange(exchange) => self.exchanges.push(exchange),
        }
    }

    /// Adds a binding with its queue and exchange, each only once.
    pub(crate) fn bind(&mut self, queue: &Queue, exchange: &Exchange, key: BindingKey) {
        if !self.queues.contains(queue) {
            self.queues.push(queue.clone());
        }
        if !self.exchanges.contains(exchange) {
            self.exchanges.push(exchange.clone());
        }
        let (queue, exchange) = (queue.name().to_owned(), exchange.name().to_owned());
        self.bindings.push(Binding { queue, exchange, key });
    }

    /// Removes the exchanges that are among `others`, which are declared before.
    pub(crate) fn after(mut self, others: &Entities) -> Self {
        self.exchanges.retain(|exchange| !others.exchanges.contains(exchange));
        self
    }

    /// Declares exchanges, queues and bindings, in this order.
    pub(crate) async fn declare(&self, channel: &Channel) -> Result<(), SetupError> {
        for exchange in self.exchanges.iter().filter(|exchange| !is_predeclared(exchange.name())) {
            declare(channel, ("exchange", exchange.name()), exchange).await?;
        }
        for queue in &self.queues {
            declare_queue(channel, queue).await?;
        }
        for Binding { queue, exchange, key } in &self.bindings {
            let bound = channel.bind(key.binding(queue, exchange)).await;
            bound
                .map_err(SetupError::broker(format_args!("bind queue {queue:?} to exchange {exchange:?}")))?;
        }
        Ok(())
    }
}

/// Declares a queue. Returns its name, which the broker chooses when it is empty.
pub(crate) async fn declare_queue(channel: &Channel, queue: &Queue) -> Result<String, SetupError> {
    declare(channel, ("queue", queue.name()), queue).await.map(|info| info.name)
}

async fn declare<D: Declare>(
    channel: &Channel,
    what: (&'static str, &str),
    entity: &D,
) -> Result<D::Info, SetupError> {
    let refusal = match channel.declare(entity).await {
        Ok(info) => return Ok(info),
        Err(refusal) => refusal,
    };
    if let amqp_client::Error::QueueTaken { queue, .. } = &refusal {
        return Err(SetupError::QueueTaken { queue: queue.clone(), source: refusal });
    }
    match Conflict::find(channel, what, &refusal).await {
        Some(conflict) => Err(SetupError::Conflict(Box::new(conflict))),
        None => Err(SetupError::broker(format_args!("declare {} {:?}", what.0, what.1))(refusal)),
    }
}

/// Whether it is the default exchange or one of the broker's own, which nobody may declare.
fn is_predeclared(exchange: &str) -> bool {
    exchange.is_empty() || exchange.starts_with("amq.")
}
