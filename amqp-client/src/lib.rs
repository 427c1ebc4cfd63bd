#![cfg_attr(docsrs, feature(doc_cfg))]
#![doc = include_str!("../README.md")]
//! # Operations
//! Each operation is one method. Its first argument names or describes what it acts on: a name, an
//! [`Exchange`], a [`Queue`] or a [`QueueInfo`]. These values also have the arguments of the
//! protocol's method; other variants are options, which have defaults.
//!
//! | operation | its variants |
//! |---|---|
//! | [`connect(uri)`](ConnectOptions::connect) | several hosts: [`IntoUris`]; all others: [`ConnectOptions`] |
//! | [`declare(&queue)`](Channel::declare), or an exchange | [`passive`](Queue::passive), [`no_wait`](Queue::no_wait) and all others: [`Queue`], [`Exchange`] |
//! | [`bind(binding)`](Channel::bind), [`unbind(binding)`](Channel::unbind) | a queue or an exchange, routing key, arguments: [`Binding`] |
//! | [`publish(route, message)`](Publisher::publish), [without confirms](Channel::publish) | [`mandatory`](Route::mandatory): [`Route`]; properties: [`Message`] |
//! | [`consume(&queue, options)`](Channel::consume) | acknowledgement, prefetch, priority and others: [`ConsumeOptions`] |
//! | [`get(&queue, options)`](Channel::get) | acknowledgement: [`GetOptions`] |
//! | [`delete_queue(&queue, options)`](Channel::delete_queue), [`delete_exchange`](Channel::delete_exchange) | conditions: [`DeleteOptions`] |
//! | [`ack()`](Delivery::ack), [`nack(requeue)`](Delivery::nack), [`reject(requeue)`](Delivery::reject) of a delivery | |
//! | `recv()` of a [`Consumer`], a [`Drain`], [`Events`] | returns `None` at the end, as tokio's channels do |
//!
//! # How it is built
//! There is one engine behind one mutex: a handle locks it, writes its frames straight into the
//! outgoing buffer, and unlocks. One task, the driver, owns the socket: it takes the whole buffer
//! at once and writes it with one system call, and hands the deliveries of one read to each
//! consumer as one batch. There is no queue of commands, and no message costs a task or an
//! allocation.
//!
//! # Limits
//! | limit of | default | what happens beyond it | set with |
//! |---|---|---|---|
//! | a message in either direction | 64 MiB | a publish is refused; a delivery closes its channel, or arrives [without its body] | [`max_message_size`] |
//! | a frame | 128 KiB, or the broker's limit if that is less | content is split; a method that does not fit is refused | [`frame_max`] |
//! | headers of a message from the broker | 1 MiB, or the limit of a frame if that is more | the connection is closed | |
//! | channels | 2047, or the broker's limit if that is less | opening one fails | [`channel_max`] |
//! | outgoing bytes of a connection | 256 KiB, and as much that is being written | publishes wait | [`write_buffer`] |
//! | unconfirmed publishes of a channel | 65,536 | publishes wait | [`confirm_window`] |
//! | bytes of unconfirmed bodies of a channel | 64 MiB | publishes wait | [`confirm_window_bytes`] |
//! | deliveries to a consumer that acknowledges | 256 | the broker sends no more until some are settled | [`ConsumeOptions::prefetch`] |
//! | bytes of deliveries without a prefetch | 16 MiB a connection | nothing is read until the consumers take some | [`delivery_buffer`] |
//! | bytes of all deliveries that wait for their consumers | 128 MiB a connection | the same | [`inbox_limit`] |
//! | events kept for a listener | 64 | the oldest are dropped | |
//! | nesting of tables | 32 | the table is refused | |
//!
//! [`max_message_size`]: ConnectOptions::max_message_size
//! [without its body]: ConsumeOptions::withhold_bodies_over
//! [`frame_max`]: ConnectOptions::frame_max
//! [`channel_max`]: ConnectOptions::channel_max
//! [`write_buffer`]: ConnectOptions::write_buffer
//! [`confirm_window`]: ConnectOptions::confirm_window
//! [`confirm_window_bytes`]: ConnectOptions::confirm_window_bytes
//! [`delivery_buffer`]: ConnectOptions::delivery_buffer
//! [`inbox_limit`]: ConnectOptions::inbox_limit
//!
//! # When the connection is lost
//! By default the connection ends with the reason of the loss, and so do its channels and
//! consumers. With [`ConnectOptions::recovery`] it is recovered: [`Recovery`] describes what is
//! restored, and what happens to operations under way.
//!
//! # Events, logs and metrics
//! - [`Connection::events`] and [`Connection::state`] inform the program: connected, blocked,
//!   channels that were closed, the end.
//! - `tracing` informs the operator of the same, in a span `connection` (`peer`, `vhost`, `name`),
//!   and for a channel in a span `channel` (`number`) within it. Events that the broker or the
//!   network causes are warnings. There are no events for single messages, and none contains a
//!   secret.
//! - [`Connection::metrics`] counts for a dashboard what the connection has done, and what it
//!   holds.
//!
//! # Waits and their deadlines
//! - [`ConnectOptions::connect`]: 10 s for name look-up, TCP, TLS and handshake, for all hosts
//!   together ([`ConnectOptions::connect_timeout`]).
//! - Calls that the broker answers: 30 s ([`ConnectOptions::call_timeout`]).
//! - Publishing: while the write buffer or the window of unconfirmed publishes is full, or the
//!   broker accepts no publishes; without a deadline unless [`Publisher::with_timeout`]
//!   sets one.
//! - [`Confirm`], [`Consumer`], [`Channel::closed`], [`Connection::closed`]: until their answer or
//!   the end of the channel or connection, which heartbeats bound when the network is silent.

mod channel;
mod connect;
mod connection;
mod consume_options;
mod consumer;
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
mod sync;
mod topology;

pub use amqp_codec::{Array, Properties, ReplyCode, Report, Secret, ShortString, Table, Value};
pub use channel::Channel;
pub use connect::connect;
pub use connect::into_uris::IntoUris;
pub use connect::options::ConnectOptions;
pub use connect::recovery::Recovery;
pub use connect::tls::TlsOptions;
pub use connect::uri::Uri;
pub use connection::{Connection, WeakConnection};
pub use consume_options::{ConsumeOptions, StreamOffset};
pub use consumer::Consumer;
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
pub use topology::declare::Declare;
pub use topology::{Binding, Destination, Exchange, Overflow, Queue, QueueInfo};
