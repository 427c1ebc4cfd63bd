//! The exchange that requests go through, and the way out when it exists otherwise.

use std::sync::OnceLock;

use amqp_client::{Exchange, Message};

use crate::{error::Error, producer::Producer, retry::RetryPolicy, topology::Topology, transport::Transport};

/// One exchange of a target.
pub(crate) struct Route {
    producer: Producer,
    /// In place of the first one, since that turned out to exist otherwise.
    fallback: OnceLock<Producer>,
}

/// How a request is sent.
pub(crate) struct Sending {
    pub(crate) retry: RetryPolicy,
    pub(crate) wait_for_route: bool,
}

impl Route {
    pub(crate) fn new(producer: Producer) -> Self {
        Route { producer, fallback: OnceLock::new() }
    }

    pub(crate) async fn deliver(
        &self,
        transport: &Transport,
        exchange: impl Fn(&Topology) -> Exchange,
        (routing_key, message): (&str, &Message),
        sending: &Sending,
    ) -> Result<(), Error> {
        let send = async |producer: &Producer| {
            let producer = producer.clone().retry(sending.retry).wait_for_route(sending.wait_for_route);
            producer.deliver(routing_key, message, None).await.map(drop)
        };
        if let Some(fallback) = self.fallback.get() {
            return send(fallback).await;
        }
        let sent = send(&self.producer).await;
        match sent.as_ref().err().and_then(|error| transport.topology().fallback(error)) {
            None => sent,
            Some(topology) => {
                let exchange = exchange(&topology);
                tracing::warn!(
                    exchange = exchange.name(),
                    "it exists and is not durable; it is used as it is"
                );
                let fallback = transport.producer(exchange).mandatory(true);
                send(self.fallback.get_or_init(|| fallback)).await
            }
        }
    }
}
