#![cfg_attr(docsrs, feature(doc_cfg))]
#![doc = include_str!("../README.md")]
//! # What it does
//! Direct, fanout, topic and headers exchanges, bound to queues and to each other, alternate and
//! internal ones; queues that are exclusive, auto-delete, named by the broker, with priorities, a
//! single active consumer, a maximum length, and with messages and queues that expire; prefetch for
//! each consumer and for a channel, consumer priorities and cancel notifications; policies and
//! operator policies; dead-letter exchanges with `x-death`, quorum queues with their delivery
//! limit, streams read from any offset; the acknowledgement timeout; confirms, returns,
//! transactions; `CC` and `BCC`; direct reply-to. Codes and texts of errors are those of RabbitMQ
//! 3.10, or of the version that it is like.
//!
//! # For tests of clients
//! [`Broker::faults`] injects faults: connections that are dropped at once, at a frame or at a
//! publish, all or those of a name; connections that are refused, closed, blocked or slow;
//! publishes that are nacked or returned, confirms that never come, consumers that are cancelled,
//! queues that vanish. [`Broker::queues`], [`Broker::bindings`] and [`Broker::connections`] show
//! what the client did. Users, their tags, and their permissions on names and on routing keys
//! change with [`Broker::add_user`], [`Broker::set_permissions`] and similar methods. Everything
//! works in memory under tokio's paused clock, too.
//!
//! # Like which RabbitMQ
//! [`BrokerBuilder::like`] chooses the version of RabbitMQ that the broker announces, and follows
//! where versions differ; by default it is 3.10.8. Each row applies from its version on.
//!
//! | since | what is otherwise |
//! |---|---|
//! | 4.0.9 | clients may log in with ANONYMOUS as `guest`; a wrong protocol header is answered with that of AMQP 1.0, which is not spoken here; AMQP 0-8 is not spoken |
//! | | a message has at most 16 MiB by default; top-level headers arrive sorted by name |
//! | | an unknown exchange type is refused with 406 on the channel; in headers exchanges a float matches no integer |
//! | | a queue without `x-queue-type` is compared as `classic`; classic queues know `x-queue-leader-locator` |
//! | | quorum queues: a delivery limit of 20 by default, and none with a negative one; messages above priority 4 are preferred two to one; what returns comes first; no `x-delivery-count` on a first `basic.get` |
//! | | dead letters: `x-death` in the order of the deaths, whatever a publisher wrote into it; `x-last-death-*`; `CC` stays even where it counts no more |
//! | | streams: filters by `x-stream-filter-value`; a delivery mode of 1 if there is none; rejecting acknowledges |
//! | | a refusal for want of permission names the act: `write access to exchange`; topic permissions hold for the keys in `CC` and `BCC` too |
//! | | policies: a negative `delivery-limit` is none; `stream-filter-size-bytes`, `target-group-size`, `consumer-timeout` without effect; `overflow` also for operators; no more of mirrored queues (`ha-mode`), which before are taken without effect |
//! | 4.2.9 | a client's `frame_max` is at least 8192; a mandatory direct reply is not returned when its requester is there |
//! | 4.3.6 | queues that are neither durable nor exclusive are refused with 541 on the connection; so is `x-queue-version` 1, with 406 on the channel |
//! | | a prefetch for the whole channel counts for each consumer; a passive declaration needs some permission on the name |
//! | | a transaction has at most 10,000 publishes: one more closes the channel with 406 (in words of this broker); `x-max-age` is compared as a time, so that `1D` equals `24h` |
//! | | quorum queues: 32 priorities; only rejections and the ends of channels count towards the delivery limit; `x-acquired-count`; `x-delayed-retry-type`, `-min`, `-max` |
//! | | only quorum queues have a consumer timeout, by `x-consumer-timeout` of the consumer or the queue, a policy, or of the broker: messages return, and the consumer is cancelled, or the channel closed where the client does not know cancels |
//!
//! What a queue delays is ready at once after a restart, and the returns that do not count towards
//! a limit are forgotten then.
//!
//! # Where it differs from RabbitMQ
//! | this broker | RabbitMQ |
//! |---|---|
//! | a stream drops message by message, as soon as `x-max-age` or `x-max-length-bytes` demand it; only the newest message stays whatever its size | it drops segments of 500 MB, or of `x-stream-max-segment-size-bytes` |
//! | a consumer of a stream begins at the very message that `last`, a timestamp or an interval names | it begins at the start of that message's batch |
//! | properties and headers of a stream's messages are kept byte for byte | they are converted to AMQP 1.0 and back |
//! | `basic.recover` does nothing to deliveries of a stream | it is answered with 540 NOT_IMPLEMENTED |
//! | a quorum queue has one member, and is as safe as a classic one | it has as many as there are nodes, up to five |
//! | dead letters are published in the operation that killed the message, those of quorum queues too, unless they are thousands | those of quorum queues follow soon after |
//! | at most 100,000 dead letters ([`BrokerBuilder::max_dead_letters`]) stem from one publish, and they take at most an eighth of the memory at once; further ones are dropped, which is logged | they accumulate |
//! | while an operation of a channel is interrupted, no other channel of its connection is processed | the others continue |
//! | in a queue with priorities a message with TTL 0 expires at once | it expires when the queue is next consumed from, unless it is alone |
//! | when the single active consumer of a queue is cancelled with unacknowledged messages, the next consumer becomes active | the queue may crash and restart, empty if it is not durable |
//! | direct replies are dropped for a client with 64 MiB of unread ones, or less while memory is short | they accumulate |
//! | of several policies with the same priority the last by name applies | any of them |
//! | a policy's pattern is a regular expression over characters | it is one over octets |
//! | a policy with `max-length` and `overflow` `reject-publish` drops nothing that is there | a classic queue drops the excess, unless it refused publishes before |
//! | a queue with `x-expires` counts the time without use from its last use whatever policies change, and from when a policy sets another time | each change of the policy that applies begins it anew, and in 3.10 a policy's `expires` counts for a quorum queue even if it is the longer one |
//! | what a quorum queue drops because a policy shortens it is dead-lettered oldest first | newest first |
//! | the tags of users are RabbitMQ's own, of which `impersonator` has an effect | there may be others; they allow what plugins define |
//! | in a permission `$` matches at the end only | it also matches before a line feed at the end |
//! | where a user's name in a topic permission is no regular expression, it stands for itself | the connection is closed with 541 |
//! | changed permissions apply to open channels at once | a channel may continue with what it has used recently |
//! | the virtual hosts are those that the broker was built with | they can be added and deleted |
//! | when a method of class connection has a wrong end marker, the error shows its class and method number | the error shows its first 16 octets and the wrong one, which may contain a secret |
//! | of AMQP 0-8, which 3.10 speaks, the handshake is spoken: a method after it is refused with 540 | all of it is spoken |
//! | a stream's filter passes over each message that does not match | it passes over batches without a match |
//! | malformed properties are refused with 502 SYNTAX_ERROR | they are refused with 541 INTERNAL_ERROR |
//! | flags of unknown properties are refused | they are passed on, and break the receiver |
//!
//! # What survives
//! With a folder, durable exchanges and queues, their bindings and persistent messages survive both
//! an orderly end and a crash: confirmed messages are there, and acknowledged ones are not, unless
//! the process died before it wrote the acknowledgement. After an orderly end a message is
//! `redelivered` if it was delivered before; after a crash all are, because it is unknown which
//! were. The confirm of a persistent message waits for `fdatasync`, which serves all changes that
//! gathered meanwhile; while the disk is too slow, publishers wait. All messages are in memory too:
//! the disk adds safety, not capacity. The number of a message's returns to a quorum queue is kept,
//! and so is the order of the returns: after a restart messages are where they were before. After a
//! crash, those that were with consumers are where they had been delivered from. A stream's offsets
//! continue, even if it was empty. Policies that were set while the broker ran are there again,
//! those that it is configured with come before them. Below [`BrokerBuilder::disk_free_limit`]
//! publishers are held back with `connection.blocked` while consumers continue. When the disk
//! fails, waiting publishes are nacked, every connection is closed with 541, and [`Broker::failed`]
//! returns the reason; the program ends with an error.
//!
//! At the start the folder is checked. A batch that was being written when the broker ended is
//! dropped with a log line; nothing of it was confirmed. A damaged folder is refused, and not
//! changed, until it is repaired (`DurableBrokerBuilder::repair`). Damage is a gap in a journal
//! with intact records behind it, a wrong checksum, a missing part, or a journal that ends before
//! the last confirmed change. How far the journal was confirmed is recorded outside of it. That
//! record is exact whenever the process ends, in whatever way. When the power fails, it may lag by
//! about 50 ms, so that damage in that period at the very end may be taken for an incomplete batch.
//! [`BrokerBuilder::mark_delay`] changes the period; with zero the record is exact then too.
//!
//! # Memory
//! A connection that does not read holds at most 2 MiB and one message of deliveries; the rest
//! stays in the queues. When more than 8 MiB of answers wait for a client, its requests are not
//! read. A message is stored once however many queues hold it. Everything that clients make the
//! broker hold is counted for each virtual host. At [`BrokerBuilder::memory_limit`] publishers are
//! held back with `connection.blocked` until there is room, declarations and bindings are refused,
//! and a connection that holds more than its share and does not move a sixteenth of it within 30 s
//! ([`BrokerBuilder::stall_timeout`]) is closed. So is one whose client disconnects while it is
//! held back. Connections, channels, queues, unacknowledged deliveries, frames and messages have
//! limits of their own; see [`BrokerBuilder`].
//!
//! # Fairness
//! Large operations are divided: a purge of millions, a publish to as many queues, a deletion, a
//! commit, thousands of dead letters. After each bounded part the other clients have their turn;
//! the client's own connection continues with the operation, and answers when all of it is done.
//!
//! # What it logs
//! The log consists of events of [`tracing`](https://docs.rs/tracing). Each event about a
//! connection has the field `connection` with the addresses of both ends. At `INFO` there is one
//! when a connection opens, with `user`, `vhost` and the client's own `name` for it, and one when
//! it closes, with `seconds` and `why`; at `WARN` one for a refused login, at `DEBUG` one for a
//! channel that is closed for an error. Texts of a client are escaped where they would end, colour
//! or reverse a line, and are cut at 256 characters. No event contains a secret.

// The code that records changes is compiled even when there is no store.
#![cfg_attr(not(feature = "durable"), allow(dead_code))]

pub mod backend;
mod broker;
mod config;
mod core;
mod failure;
mod faults;
#[cfg(feature = "filesystem")]
pub mod filesystem;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod gateway;
#[cfg(any(feature = "filesystem", feature = "redis"))]
mod kombu;
#[cfg(feature = "program")]
mod log;
#[cfg(feature = "management")]
mod management;
#[cfg(feature = "program")]
pub mod program;
#[cfg(feature = "redis")]
pub mod redis;
mod server;
mod session;
#[cfg(feature = "program")]
mod settings;
mod shown;
#[cfg(feature = "simulation")]
mod simulated_disk;
mod sockets;
mod store;
mod sync;
#[cfg(test)]
mod tests;
mod users;

pub use crate::core::{
    rabbitmq::{
        access::{
            Permissions,
            pattern::InvalidPattern,
            tags::{UnknownUserTag, UserTag},
            topics::TopicPermissions,
        },
        policies::{
            invalid_policy::InvalidPolicy,
            policy::{Policy, PolicyInfo, PolicyTarget},
        },
        version::{RabbitMq, UnknownVersion},
    },
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
#[cfg(feature = "management")]
pub use management::{
    definitions::file::{Definitions, DefinitionsError},
    service::options::HttpOptions,
};
#[cfg(feature = "management")]
pub use server::instance::InvalidVhost;
#[cfg(feature = "tls")]
pub use server::tls::Tls;
#[cfg(feature = "tls")]
pub use server::tls_error::TlsError;
#[cfg(feature = "simulation")]
pub use simulated_disk::SimulatedDisk;
#[cfg(feature = "durable")]
pub use store::DataError;
