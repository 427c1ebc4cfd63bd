//! The exchange that requests are published to, and the fallback when it exists with other
//! properties.

use std::sync::OnceLock;

use amqp_client::{Exchange, Message};

use crate::{
    error::Error,
    oslo::{settings::topology::Topology, wire::target::Target},
    publish::producer::Producer,
    retry::RetryPolicy,
    transport::Transport,
};

/// The kind of a target's exchange.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    /// The exchange of requests to one server, which have to reach one.
    Request,
    /// The exchange of requests to all servers, of which there may be none.
    Fanout,
}

/// One exchange of a target.
pub(crate) struct Route {
    kind: Kind,
    producer: Producer,
    /// The producer that is used instead, once the exchange turned out to exist with other
    /// properties.
    fallback: OnceLock<Producer>,
}

/// The settings with which a request is sent.
pub(crate) struct Sending {
    pub(crate) retry: RetryPolicy,
    pub(crate) wait_for_route: bool,
}

impl Kind {
    fn exchange(self, topology: &Topology, target: &Target) -> Exchange {
        match self {
            Kind::Request => topology.request_exchange(target),
            Kind::Fanout => topology.fanout_exchange(target),
        }
    }

    fn is_mandatory(self) -> bool {
        matches!(self, Kind::Request)
    }
}

impl Route {
    pub(crate) fn new(kind: Kind, transport: &Transport, target: &Target) -> Self {
        let exchange = kind.exchange(transport.topology(), target);
        let producer = transport.producer(exchange).mandatory(kind.is_mandatory());
        Route { kind, producer, fallback: OnceLock::new() }
    }

    pub(crate) async fn send(
        &self,
        (transport, target): (&Transport, &Target),
        (routing_key, message): (&str, &Message),
        sending: &Sending,
    ) -> Result<(), Error> {
        let send = async |producer: &Producer| {
            let producer = producer.clone().retry(sending.retry).wait_for_route(sending.wait_for_route);
            producer.publish_raw(routing_key, message, None).await.map(drop)
        };
        if let Some(fallback) = self.fallback.get() {
            return send(fallback).await;
        }
        let sent = send(&self.producer).await;
        match sent.as_ref().err().and_then(|error| transport.topology().fallback(error, target)) {
            None => sent,
            Some(topology) => {
                let exchange = self.kind.exchange(&topology, target);
                tracing::warn!(
                    exchange = exchange.name(),
                    "the exchange exists and is not durable; it is used as it is"
                );
                let fallback = transport.producer(exchange).mandatory(self.kind.is_mandatory());
                send(self.fallback.get_or_init(|| fallback)).await
            }
        }
    }
}
