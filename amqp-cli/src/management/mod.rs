//! RabbitMQ's management API, which the broker of this repository has too, over HTTP.

pub(crate) mod arguments;
pub(crate) mod endpoint;
pub(crate) mod http;
