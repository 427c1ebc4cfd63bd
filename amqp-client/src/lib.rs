#![cfg_attr(docsrs, feature(doc_cfg))]
#![doc = include_str!("../README.md")]
//! # Example
//! ```
//! use amqp_client::{Binding, Confirmation, ConsumeOptions, Exchange, Message, Queue};
//!
//! # async fn run(uri: &str) -> amqp_client::Result<()> {
//! let connection = amqp_client::connect(uri).await?; // "amqp://guest:guest@localhost:5672/"
//! let channel = connection.open_channel().await?;
//!
//! let events = Exchange::topic("events");
//! let jobs = Queue::new("jobs");
//! channel.declare(&events).await?;
//! channel.declare(&jobs).await?;
//! channel.bind(Binding::new(&jobs, &events).routing_key("job.#")).await?;
//!
//! let publisher = channel.publisher().await?;
//! let message = Message::new("hi").persistent();
//! let confirm = publisher.publish((&events, "job.run"), message).await?; // there was room
//! match confirm.await? { // and this became of it
//!     Confirmation::Ack => {}
//!     other => panic!("not taken: {other:?}"),
//! }
//!
//! let mut consumer = channel.consume(&jobs, ConsumeOptions::new().prefetch(64)).await?;
//! if let Some(delivery) = consumer.recv().await {
//!     let delivery = delivery?;
//!     assert_eq!(delivery.body(), "hi");
//!     delivery.ack().await?;
//! }
//! connection.close().await
//! # }
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let listener = amqp_broker::Broker::builder().build().listen("127.0.0.1:0").await?;
//! # run(&format!("amqp://{}", listener.local_addr())).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Operations
//! Each operation has one method. Its first argument is what it acts on: a value that describes it,
//! or a name. Variants are set on that value, which has the arguments of the protocol's method, or
//! in options, which have defaults. A name may be given as an [`Exchange`], a [`Queue`] or a
//! [`QueueInfo`] too.
//!
//! | operation | its variants |
//! |---|---|
//! | [`declare(&queue)`](Channel::declare), or an exchange | [`passive`](Queue::passive), [`no_wait`](Queue::no_wait) and all others: [`Queue`], [`Exchange`] |
//! | [`bind(binding)`](Channel::bind), [`unbind(binding)`](Channel::unbind) | of a queue or an exchange, routing key, arguments: [`Binding`] |
//! | [`publish(route, message)`](Publisher::publish), [without confirms](Channel::publish) | [`mandatory`](Route::mandatory): [`Route`]; properties: [`Message`] |
//! | [`consume(&queue, options)`](Channel::consume) | acknowledgement, prefetch, priority and others: [`ConsumeOptions`] |
//! | [`get(&queue, options)`](Channel::get) | acknowledgement: [`GetOptions`] |
//! | [`delete_queue(&queue, options)`](Channel::delete_queue), [`delete_exchange`](Channel::delete_exchange) | conditions: [`DeleteOptions`] |
//! | [`ack()`](Delivery::ack), [`nack(requeue)`](Delivery::nack), [`reject(requeue)`](Delivery::reject) of a delivery | |
//! | `recv()` of a [`Consumer`], a [`Drain`], [`Events`] | `None` at the end, as of tokio's channels |
//!
//! # How it is built
//! There is one engine behind one mutex: a handle locks it, writes its frames straight into the
//! outgoing buffer, and unlocks. One task, the driver, owns the socket: it takes the whole buffer
//! at once and writes it with one system call, and hands the deliveries of one read to each
//! consumer as one batch. There is no queue of commands, and no message costs a task or an
//! allocation.
//!
//! # Limits
//! | what | default | over it | set with |
//! |---|---|---|---|
//! | a message, either way | 64 MiB | publishing: refused; from the broker: its channel is closed, or it comes [without its body] | [`max_message_size`] |
//! | a frame | 128 KiB, or less as the broker wants | content is cut; anything else is refused | [`frame_max`] |
//! | headers of a message from the broker | 1 MiB, or a frame if that is more | the connection is closed | |
//! | channels | 2047, or less as the broker wants | opening one fails | [`channel_max`] |
//! | outgoing bytes of a connection | 256 KiB, and as much being written | publishes wait | [`write_buffer`] |
//! | unconfirmed publishes of a channel | 65,536 | publishes wait | [`confirm_window`] |
//! | bytes of unconfirmed bodies of a channel | 64 MiB | publishes wait | [`confirm_window_bytes`] |
//! | deliveries to a consumer that acknowledges | 256 | the broker waits | [`ConsumeOptions::prefetch`] |
//! | bytes of deliveries to consumers that do not | 16 MiB a connection | nothing is read until some are taken | [`delivery_buffer`] |
//! | events kept for a listener | 64 | the oldest are dropped | |
//! | nesting of tables | 32 | refused | |
//!
//! [`max_message_size`]: ConnectOptions::max_message_size
//! [without its body]: ConsumeOptions::withhold_bodies_over
//! [`frame_max`]: ConnectOptions::frame_max
//! [`channel_max`]: ConnectOptions::channel_max
//! [`write_buffer`]: ConnectOptions::write_buffer
//! [`confirm_window`]: ConnectOptions::confirm_window
//! [`confirm_window_bytes`]: ConnectOptions::confirm_window_bytes
//! [`delivery_buffer`]: ConnectOptions::delivery_buffer
//!
//! # Features
//! | feature | what it adds |
//! |---|---|
//! | `tls` (default) | `amqps`, by rustls and ring. Without it, connecting with `amqps` or [`TlsOptions`] fails with [`TlsError::NotCompiled`] |
//!
//! # When the connection is lost
//! By default the connection ends with the reason of the loss, and so do its channels and
//! consumers. With [`ConnectOptions::recovery`] it is recovered: [`Recovery`] describes what is
//! restored, and what happens to operations under way.
//!
//! # What is told
//! - [`Connection::events`] and [`Connection::state`] inform the program: connected, blocked,
//!   channels that were closed, the end.
//! - `tracing` informs the operator of the same, in a span `connection` (`peer`, `vhost`, `name`),
//!   and for a channel in a span `channel` (`number`) within it. Events that the broker or the
//!   network causes are warnings. There are no events for single messages, and none contains a
//!   secret.
//! - [`Connection::metrics`] counts for a dashboard what the connection has done, and what it
//!   holds.
//!
//! # What waits, and until when
//! - [`ConnectOptions::connect`]: 10 s for name look-up, TCP, TLS and handshake together, of all
//!   hosts.
//! - Calls that the broker answers: 30 s ([`ConnectOptions::call_timeout`]).
//! - Publishing: while the write buffer or the window of unconfirmed publishes is full, or the
//!   broker blocks.
//! - [`Confirm`], [`Consumer`], [`Channel::closed`], [`Connection::closed`]: until their answer or
//!   the end of the channel or connection, which heartbeats bound when the network is silent.

mod channel;
mod connect;
mod connection;
mod consume_options;
mod consumer;
mod declare;
mod delivery;
mod drain;
mod error;
mod event;
mod login;
mod message;
mod metrics;
mod options;
mod proto;
mod publisher;
mod recovery;
mod runtime;
mod topology;

pub use amqp_codec::{Array, Properties, ReplyCode, Report, Secret, ShortString, Table, Value};
pub use channel::Channel;
pub use connect::connect;
pub use connect::options::ConnectOptions;
pub use connect::recovery::Recovery;
pub use connect::tls::TlsOptions;
pub use connect::uri::Uri;
pub use connection::{Connection, WeakConnection};
pub use consume_options::{ConsumeOptions, StreamOffset};
pub use consumer::Consumer;
pub use declare::Declare;
pub use delivery::{Acker, Delivery, Received};
pub use drain::Drain;
pub use error::tls_error::TlsError;
pub use error::{Close, Error, Result};
pub use event::{Event, Events, Recovered, Renamed, Skipped, State};
pub use login::credentials::{
    Credentials, CredentialsError, CredentialsFuture, CredentialsProvider, Password,
};
pub use login::sasl::{Mechanism, SaslMechanism};
pub use message::Message;
pub use metrics::Metrics;
pub use options::delete::DeleteOptions;
pub use options::get::GetOptions;
pub use options::route::Route;
pub use publisher::{Confirm, Confirmation, Publisher, Returned, WhileBlocked};
pub use runtime::backoff::Backoff;
pub use topology::{Binding, Destination, Exchange, Overflow, Queue, QueueInfo};
