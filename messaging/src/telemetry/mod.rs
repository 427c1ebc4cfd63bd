//! Spans and metrics of OpenTelemetry, by its conventions for messaging and for RabbitMQ
//! (<https://opentelemetry.io/docs/specs/semconv/messaging/rabbitmq/>, version 1.44). Without the
//! feature, stand-ins take no room and do nothing.

#[cfg(feature = "opentelemetry")]
pub(crate) mod destination;
#[cfg(feature = "opentelemetry")]
mod error_type;
#[cfg(feature = "opentelemetry")]
mod instruments;
#[cfg(feature = "opentelemetry")]
mod names;
#[cfg(feature = "opentelemetry")]
pub(crate) mod observer;
#[cfg(not(feature = "opentelemetry"))]
#[path = "no_observer.rs"]
pub(crate) mod observer;
#[cfg(feature = "opentelemetry")]
pub(crate) mod operation;
#[cfg(feature = "opentelemetry")]
pub(crate) mod providers;
#[cfg(feature = "opentelemetry")]
mod sinks;
#[cfg(feature = "opentelemetry")]
mod tracer;
