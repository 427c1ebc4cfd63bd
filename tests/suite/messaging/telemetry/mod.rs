//! Spans and metrics of OpenTelemetry.

mod consume;
mod metrics;
mod pika;
mod publish;
mod recorded;
mod rpc;
mod sampling;

use super::on_every_broker;
