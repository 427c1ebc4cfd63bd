//! Spans and metrics of OpenTelemetry.

mod consume;
mod metrics;
mod pika;
mod publish;
mod recorded;
mod rpc;

use super::on_every_broker;
