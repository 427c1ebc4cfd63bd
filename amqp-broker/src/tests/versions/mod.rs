//! The differences between versions of RabbitMQ, version by version. Each value is from the source
//! that its test names.

mod greeting;
mod queues;
