//! RabbitMQ's management API, which the broker of this repository has too, over HTTP.

mod any_certificate;
pub(crate) mod arguments;
pub(crate) mod endpoint;
pub(crate) mod http;
mod tls;
