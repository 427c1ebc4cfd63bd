#![cfg_attr(docsrs, feature(doc_cfg))]
#![doc = include_str!("../README.md")]
//! # Where to begin
//! A [`Transport`] makes everything else:
//!
//! | task | begin with |
//! |---|---|
//! | publish, and know the outcome | [`Transport::producer`], [`Producer::ensure_publish`], [`Producer::publish_all`] for a stream |
//! | set priority, expiration, headers, what to declare | [`PublishOptions`], [`RetryPolicy`] |
//! | run a handler on each message | [`Transport::worker`]; [`OnFailure`] and [`RetryLater`] for messages that fail |
//! | receive messages one by one | [`Transport::consumer`], [`Transport::simple_queue`] |
//! | call methods elsewhere, or offer methods | [`Transport::rpc_client`], [`Transport::rpc_server`], [`rpc`] |
//! | emit notifications, or listen for them | [`Transport::notifier`], [`Transport::listener`], [`notify`] |
//! | send commands to nodes and collect their replies | [`Transport::mailbox`], [`mailbox`] |
//! | send tasks to Celery's workers, get their results | [`celery::Celery`] |
//! | run Celery's tasks, sent in any language | [`celery::Worker`] |
//! | inspect and control Celery's workers, receive their events | [`Transport::celery`], [`celery`] |
//! | exchange Python's values and formats | [`tagged`], [`Serializers`], [`Compression`] |
//! | wait for the broker, set timeouts and limits | [`TransportOptions`] |
//! | export spans and metrics | `Telemetry` (feature `opentelemetry`), [`TraceContext`] |
//! | observe connections | [`Transport::health`], [`Transport::status`], [`Worker::status`], [`Transport::state`], [`Transport::events`], [`Transport::metrics`] |
//!
//! [`TransportOptions::connect`] lists the forms and options of URLs.

#[cfg(feature = "mailbox")]
pub mod celery;
mod compress;
mod connection;
mod consume;
mod error;
#[cfg(feature = "memory")]
mod in_memory;
#[cfg(feature = "mailbox")]
pub mod mailbox;
#[cfg(feature = "oslo")]
pub mod notify;
#[cfg(feature = "oslo")]
mod oslo;
#[cfg(any(feature = "oslo", feature = "mailbox"))]
mod pattern;
mod publish;
mod retry;
#[cfg(feature = "oslo")]
pub mod rpc;
#[cfg(all(test, shuttle))]
mod schedules;
mod serialize;
mod simple_queue;
mod sync;
pub mod tagged;
mod telemetry;
mod trace_context;
mod transport;
mod transport_options;
mod url;
mod version;
#[cfg(feature = "opentelemetry")]
mod w3c;

/// The client's error, which is the source of those [`Error`]s that a broker or a connection
/// causes.
///
/// ```
/// use std::error::Error as _;
/// use messaging::{ClientError, Queue, Transport};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), messaging::Error> {
/// let transport = Transport::connect("memory://client-error").await?;
/// let reserved = Queue::new("amq.mine");
/// let refusal = transport.consumer(reserved).start::<String>().await.expect_err("a refusal");
/// let source = refusal.source().and_then(|source| source.downcast_ref::<ClientError>());
/// let code = source.and_then(ClientError::reply_code);
/// assert_eq!(code, Some(messaging::ReplyCode::ACCESS_REFUSED));
/// # Ok(())
/// # }
/// ```
pub use amqp_client::Error as ClientError;
pub use amqp_client::{
    Array, Backoff, Close, Event, Exchange, Overflow, Properties, Queue, Received, Recovery, ReplyCode,
    Report, ShortString, StreamOffset, Table, Value,
};
pub use compress::{Compression, DECOMPRESSED_LIMIT, DECOMPRESSED_TOTAL};
pub use connection::binding::BindingKey;
pub use connection::entity::Entity;
pub use connection::event::{ConnectionEvent, ConnectionEvents};
pub use connection::health::status::{ConnectionStatus, TransportStatus};
pub use connection::history::LastError;
pub use connection::metrics::TransportMetrics;
pub use connection::state::{ConnectionState, Role};
pub use consume::bound_queue::BoundQueue;
pub use consume::consumer::Delivery;
pub use consume::consumer_builder::ConsumerBuilder;
pub use consume::settle::on_failure::{OnFailure, RetryLater};
pub use consume::typed_consumer::Consumer;
pub use consume::worker::{Incoming, Worker};
pub use consume::worker_builder::WorkerBuilder;
pub use consume::worker_status::{WorkerMonitor, WorkerStatus};
/// The crate on whose types [`Serializer`] is based.
pub use erased_serde;
pub use error::conflict::Conflict;
pub use error::url::UrlError;
pub use error::{CompressionError, Error, Malformed, Outcome, SerializerError, Undecodable, Undelivered};
#[cfg(feature = "oslo")]
pub use oslo::error::{oslo::OsloError, remote::RemoteError};
#[cfg(feature = "oslo")]
pub use oslo::settings::topology::{Quorum, StreamStart, Topology};
#[cfg(feature = "oslo")]
pub use oslo::wire::context::Context;
#[cfg(feature = "oslo")]
pub use oslo::wire::entity_serializer::EntitySerializer;
#[cfg(feature = "oslo")]
pub use oslo::wire::target::Target;
pub use publish::options::PublishOptions;
pub use publish::producer::Producer;
pub use publish::publishing::Published;
pub use publish::route::Route;
pub use retry::RetryPolicy;
pub use serialize::{BoxError, ReadValue, Serialized, Serializer, Serializers};
pub use simple_queue::{SimpleQueue, Taker};
#[cfg(feature = "opentelemetry")]
pub use telemetry::providers::Telemetry;
pub use trace_context::TraceContext;
pub use transport::Transport;
pub use transport_options::TransportOptions;
pub use version::{NotAVersion, Version};
