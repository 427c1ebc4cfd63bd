//! Producers that keep their promises, consumers of typed messages, RPC and notifications over AMQP 0-9-1: what kombu and
//! oslo.messaging are to Python, and wire-compatible with both.
//!
//! ```
//! use messaging::{Exchange, Queue, Transport};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), messaging::Error> {
//! let transport = Transport::connect("memory://example").await?; // or amqp://, rabbit://
//!
//! let jobs = Exchange::topic("jobs");
//! let mut worker = transport.consumer(Queue::new("resize")).bind(&jobs, "image.*").start::<String>().await?;
//!
//! // Done when the broker has the message in a queue.
//! let producer = transport.producer(jobs).mandatory(true);
//! producer.ensure_publish("image.resize", "cat.png").await?;
//!
//! let job = worker.next().await.expect("a job")?;
//! assert_eq!(job.body(), "cat.png");
//! job.ack().await?;
//! transport.close().await
//! # }
//! ```

mod attempt;
mod brokers;
mod compress;
mod conflict;
mod connection_event;
mod connection_state;
mod consumer;
mod context;
mod duplicates;
mod entity;
mod entity_serializer;
mod envelope;
mod error;
mod fingerprint;
mod handling;
mod header;
mod held;
mod id;
mod json_message;
mod lane;
mod left;
mod link;
mod marked;
mod next_step;
pub mod notify;
mod on_failure;
mod on_undecodable;
mod producer;
mod publish_all;
mod publish_options;
mod publishing;
mod refusal;
mod reply;
mod retry;
mod room;
pub mod rpc;
mod serialize;
mod service;
mod settling;
mod setup;
mod setup_error;
mod silence;
mod simple_queue;
mod slow;
mod source;
mod stowed;
mod stuck;
pub mod tagged;
mod target;
mod topology;
mod trace_context;
mod traffic;
mod transport;
mod transport_metrics;
mod turns;
mod typed_consumer;
mod url;
mod value;
mod version;
mod work;
mod worker;

pub use amqp_client::{Backoff, Event, Exchange, Queue, Received, Recovery, Report, StreamOffset};
pub use compress::{Compression, DECOMPRESSED_LIMIT, DECOMPRESSED_TOTAL};
pub use conflict::Conflict;
pub use connection_event::{ConnectionEvent, ConnectionEvents};
pub use connection_state::{ConnectionState, Role};
pub use consumer::{Delivery, Subscription};
pub use context::Context;
pub use entity_serializer::EntitySerializer;
/// What [`Serializer`] is written in terms of.
pub use erased_serde;
pub use error::{
    CompressionError, Error, Malformed, Outcome, RemoteError, SerializerError, Undecodable, Undelivered,
};
pub use on_failure::{OnFailure, RetryLater};
pub use producer::Producer;
pub use publish_options::PublishOptions;
pub use publishing::Delivered;
pub use retry::RetryPolicy;
pub use serialize::{BoxError, ReadValue, Serialized, Serializer, Serializers};
pub use simple_queue::{SimpleQueue, Taker};
pub use target::Target;
pub use topology::{Quorum, StreamStart, Topology};
pub use trace_context::TraceContext;
pub use transport::{Transport, TransportOptions};
pub use transport_metrics::TransportMetrics;
pub use typed_consumer::Consumer;
pub use url::error::UrlError;
pub use value::Value;
pub use version::{NotAVersion, Version};
pub use worker::{Incoming, Worker};
