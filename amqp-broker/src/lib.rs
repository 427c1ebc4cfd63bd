#![cfg_attr(docsrs, feature(doc_cfg))]
#![doc = include_str!("../README.md")]
//! # What it does
//! Direct, fanout, topic and headers exchanges, bound to queues and to each other, alternate and
//! internal ones; queues that are exclusive, auto-delete, named by the broker, with priorities, a
//! single active consumer, a maximum length, and with messages and queues that expire; prefetch for
//! each consumer and for a channel, consumer priorities and cancel notifications; dead-letter
//! exchanges with `x-death`, quorum queues with their delivery limit, streams read from any offset;
//! a limit on how long a delivery may be out; confirms, returns, transactions; `CC` and `BCC`;
//! direct reply-to. Codes and texts of errors are those of RabbitMQ 3.10.
//!
//! # For tests of clients
//! [`Broker::faults`] makes things go wrong: connections that drop now, at a frame or at a publish,
//! all or those of a name, that are refused, closed, blocked or slow; publishes that are nacked or
//! returned, confirms that never come, consumers that are cancelled, queues that vanish. What the
//! client did about it is seen by [`Broker::queues`], [`Broker::bindings`] and
//! [`Broker::connections`]. Users and permissions change with [`Broker::add_user`],
//! [`Broker::set_permissions`] and their like. All of it works in memory under tokio's paused
//! clock, too.
//!
//! # Where it differs from RabbitMQ 3.10
//! | here | there |
//! |---|---|
//! | streams forget message by message, as soon as `x-max-age` or `x-max-length-bytes` say so; only the newest message stays whatever its size | by segments of 500 MB, or `x-stream-max-segment-size-bytes` |
//! | a consumer of a stream begins at the very message that `last`, a timestamp or an interval names | at the beginning of the batch that it is in |
//! | properties and headers of a stream's messages are kept byte for byte | they are turned into AMQP 1.0 and back |
//! | `basic.recover` with deliveries of a stream does nothing to them | 540 NOT_IMPLEMENTED |
//! | a quorum queue has one member, and is as safe as a classic one | as many as there are nodes, up to five |
//! | dead letters are published with the operation that the message died of, those of quorum queues too, unless they are thousands | they follow soon after |
//! | no more than 100,000 dead letters ([`BrokerBuilder::max_dead_letters`]) come of one publish, nor an eighth of the memory at once; what dies beyond is dropped, which the log says | they pile up |
//! | of a channel that is interrupted no other channel of the connection is looked at | the others go on |
//! | in a queue with priorities a message that expires at once goes at once | when the queue is next consumed from, unless it is alone |
//! | where the one active consumer of a queue is cancelled with messages out, the next has its turn | the queue may crash and begin anew, empty if it is not durable |
//! | direct replies are dropped for a client with 64 MiB of unread ones, or less where memory is short | they pile up |
//! | permissions go by the names of queues and exchanges | topic permissions go by routing keys besides |
//! | a `user-id` is the login's | a user with the tag `impersonator` may say another |
//! | changed permissions hold for open channels at once | a channel may go on with what it has used lately |
//! | virtual hosts are those the broker was built with | they come and go |
//! | of a method of the connection whose frame ends wrongly class and number are shown | the first 16 octets are, and the one it ends with, in which there may be a secret |
//! | properties that cannot be read are 502 SYNTAX_ERROR | 541 INTERNAL_ERROR |
//! | flags of properties that do not exist are refused | they are passed on, to break whoever reads them |
//!
//! # What survives
//! With a folder, durable exchanges and queues, their bindings and persistent messages survive a
//! clean end and one that was not: what was confirmed is there, what was acknowledged is not,
//! unless the process died before it wrote that. After a clean end a message is `redelivered` if it
//! was delivered before, after another end all are, for nobody knows. A confirm of a persistent
//! message waits for `fdatasync`, which serves all that gathered meanwhile; where the disk cannot
//! follow, publishers wait. All messages are in memory too: the disk is for safety, not for more
//! than fits. How often a message returned to a quorum queue is kept, but not the order in which
//! they returned: they come in the order in which they were published. A stream's offsets go on,
//! even when it was empty. Below [`BrokerBuilder::disk_free_limit`] publishers are held back with
//! `connection.blocked` while consumers drain. When the disk fails, publishes that wait are nacked,
//! every connection is closed with 541 and [`Broker::failed`] tells why; the program ends with an
//! error.
//!
//! At the start the folder is checked. A batch that was being written when the broker ended, of
//! which nothing was confirmed, is dropped with a line in the log. A folder that is damaged is
//! refused, and nothing in it is changed, until it is to be
//! [repaired](DurableBrokerBuilder::repair): one with a hole in a journal and intact records behind
//! it, a wrong checksum, a part that is missing, or a journal that ends before what was confirmed.
//! How far that is is kept outside the journal. It is exact whenever the process ends, however it
//! does; when the power fails it may lag by some 50 ms, so that damage within that time at the very
//! end may pass for an unfinished batch. [`BrokerBuilder::mark_delay`] changes that time; with none
//! it is exact then too.
//!
//! # Memory
//! A connection that does not read what is sent to it holds at most 2 MiB and one message of
//! deliveries; the rest waits in the queues. One that does not read the answers to what it asks for
//! is not read from beyond 8 MiB of them. A message is stored once however many queues it is in.
//! All that clients make the broker hold is weighed, by virtual host; at
//! [`BrokerBuilder::memory_limit`] publishers are held back with `connection.blocked` until there
//! is room, to declare and bind is refused, and a connection that holds more than its share and
//! does not move a sixteenth of it in 30 s ([`BrokerBuilder::stall_timeout`]) is closed. So is one
//! whose client has gone while it was held back. Connections, channels, queues, unacknowledged
//! deliveries, frames and messages have limits of their own: see [`BrokerBuilder`].
//!
//! # Fairness
//! Whatever a client asks for, others have their turn after a bounded part of it: a purge of
//! millions, a publish to as many queues, a deletion, a commit, dead letters by the thousand. Its
//! own connection goes on with it, and is answered when all of it is done.
//!
//! # What it logs
//! Events of [`tracing`](https://docs.rs/tracing). Each about a connection has the field
//! `connection`, the addresses of both ends; at `INFO` one tells that it is open, with `user`,
//! `vhost` and the client's own `name` for it, and one that it is closed, with `seconds` and `why`;
//! at `WARN` one tells of a login that is refused, at `DEBUG` of a channel that is closed for an
//! error. What a client wrote is escaped in them where it would end, colour or turn a line, and cut
//! at 256 characters. No secret is in any.

// The code that records changes is compiled even when there is no store.
#![cfg_attr(not(feature = "durable"), allow(dead_code))]

mod broker;
mod config;
mod core;
mod failure;
mod faults;
mod server;
mod session;
mod shown;
mod sockets;
mod store;
#[cfg(test)]
mod tests;
mod users;

pub use crate::core::{
    rabbitmq::access::{InvalidPattern, Permissions},
    vhost::inspect::{BindingInfo, ChannelInfo, ExchangeInfo, QueueInfo},
};
/// An error with all its causes in one line.
#[doc(no_inline)]
pub use amqp_codec::Report;
#[cfg(feature = "durable")]
pub use broker::DurableBrokerBuilder;
pub use broker::{
    Broker, BrokerBuilder, Listener,
    inspection::{ConnectionInfo, ConnectionState},
    memory::memory,
};
pub use failure::Failure;
pub use faults::{Faults, plan::Direction, publish_faults::PublishFault};
#[cfg(feature = "tls")]
pub use server::tls::Tls;
#[cfg(feature = "tls")]
pub use server::tls_error::TlsError;
#[cfg(feature = "durable")]
pub use store::DataError;
