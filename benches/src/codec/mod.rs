//! Reading and writing frames: one publish, one delivery, one table of headers.

pub mod amq_protocol;
pub mod amqp_serde;
pub mod ours;
pub mod sample;
