//! Metrics for Prometheus, with the names, types and explanations of RabbitMQ
//! (<https://www.rabbitmq.com/docs/prometheus>), read from what is counted anyway.

mod channels;
mod connections;
mod global;
mod node;
mod pages;
mod queues;
mod snapshot;
mod text;

pub(super) use self::pages::routes;
