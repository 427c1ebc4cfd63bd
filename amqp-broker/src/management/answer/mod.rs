//! Answers: errors as RabbitMQ has them, tables as JSON, lists in pages, and what a request asks.

pub(crate) mod api_error;
pub(crate) mod listing;
pub(crate) mod query;
pub(crate) mod table;
