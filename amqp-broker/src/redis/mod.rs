//! A backend on Redis, with the keys, envelopes and commands of kombu's Redis transport: AMQP
//! clients in any language work on the queues of kombu and Celery.
//!
//! ```no_run
//! use amqp_broker::{Broker, redis::{Redis, RedisOptions}};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let options = RedisOptions::parse("redis://localhost:6379/0?visibility_timeout=600")?;
//! let broker = Broker::builder().backend("/", Redis::new(options)).build();
//! let listener = broker.listen("127.0.0.1:5672").await?;
//! # drop(listener);
//! # Ok(())
//! # }
//! ```
//!
//! Redis 6.2 or later is required, and no cluster: with another, connections are refused (540). In
//! Redis a database takes the place of a virtual host.
//!
//! # What is served
//! | AMQP | on Redis |
//! |---|---|
//! | direct and topic exchanges | bindings are kombu's, so that either side routes to the queues of the other. Topics match by AMQP's rules; kombu gets a regular expression of the same meaning |
//! | fanout exchanges | a message is published to a channel. The queues that are bound live in the process that bound them: each has its copy, and at most 16 MiB of messages, beyond which the oldest are dropped |
//! | the default exchange | it always routes, because a list needs no declaration, and a waiting consumer of kombu leaves no trace. Only what is sent to a queue that was exclusive or had `x-expires` and was deleted is unroutable, until an AMQP client declares it again, or for a while: an hour, or if it had `x-expires` that long, but a minute at least. So late replies fill no list |
//! | auto-delete exchanges | they go with their last binding, also when its queue is deleted or has expired. Bindings of kombu keep them |
//! | declarations of what exists | another type, `durable` or `auto_delete`, and other arguments of a queue are refused with 406 and RabbitMQ's text. They are compared with what an AMQP client has declared; what kombu alone has declared shows nothing but that an exchange is a topic exchange |
//! | exchanges that kombu alone has declared | one with patterns in its bindings is a topic exchange. One whose bindings all have an empty key is a fanout exchange while somebody listens to it; else it is taken for a direct one, as all others are, which is logged once. Declare a fanout exchange to be sure |
//! | confirms | Redis has the message. With [`wait_replicas`](RedisOptions::wait_replicas) so many replicas have it too, and too few mean `basic.nack`; even so Redis does not guarantee that a replica which becomes the master has it |
//! | `mandatory` | a message that no binding routes, or that nobody listens for on a fanout exchange, is returned |
//! | acknowledgements | a message is taken and claimed in one step. The claim is renewed while the connection lasts; if it is not, anyone may return the message after [`visibility_timeout`](RedisOptions::visibility_timeout). A replica that becomes the master may not know the latest claims and acknowledgements: their messages come again, and are not `redelivered` |
//! | `basic.nack` and `basic.reject` with `requeue` | the message returns to the front of its queue and is `redelivered`, as after the end of a channel |
//! | prefetch, consumer priorities, cancel notifications | as in the embedded broker, within this process |
//! | priorities | kombu's four lists, the lowest number first, or with [`higher_first`](RedisOptions::higher_first) the highest. `x-max-priority` is accepted without effect |
//! | `x-expires` | messages, of whatever priority, go that long after the last one was put into the queue, or `basic.get` asked for one. The queue's bindings go later: after twice that time, but at least an hour, by Redis's clock, and unless the exchange has a binding of a queue that does not expire, as in kombu. The last declaration chooses it, and clears it if it has no such argument |
//! | exclusive queues and exclusive consumers | nobody else may use them, in no process (405, 403). They are deleted with their connection; those of a process that was killed are free as soon as Redis has noticed that, and are deleted by whoever asks for them, or within seconds. Where a login may not use `CLIENT LIST` and `INFO`, a lease tells who is there: what a process had is free 30 seconds after it was killed, and a process that was stopped for longer is disconnected. Consumers of kombu are not kept away |
//! | the number of consumers, `if-unused` | those of all processes that are there, without those of kombu, which leave no trace |
//! | persistent and durable | without effect: everything is as durable as Redis is configured to be |
//!
//! # What is emulated
//! | AMQP | on Redis |
//! |---|---|
//! | `x-message-ttl` with dead letters to one queue (`x-dead-letter-exchange` `""` and `x-dead-letter-routing-key`): a queue for retries | a sorted set by the time when messages are due. They are moved in one step, by whichever process comes first. They cannot be consumed before |
//! | `x-message-ttl`, or `expiration` of a message, elsewhere | the shorter of the two counts. It is looked at when the message is claimed: a message whose time is over is not delivered, but is dropped or goes to the queue for dead letters. Until then it is one of the queue's messages. Consumers of kombu get it however late, with its `expiration` as a property. This is not refused because calls carry one, as oslo.messaging's do: a request that nobody waits for any more should not be handled |
//! | rejected messages | they go to the queue for dead letters, with `x-death`, or are dropped |
//! | auto-delete queues | they go with their last consumer if they are exclusive or bound to a fanout exchange, and those of a fanout exchange with the last connection that has bound them, even if nobody has consumed. Others stay, because consumers of kombu are not known |
//! | passive declarations | an exchange exists if it is declared by such a gateway or has bindings, a queue also if it has messages: kombu stores no declarations |
//! | a fanout binding with a routing key | it takes messages with a matching key, or with none, as in kombu; with an empty key all messages |
//! | `CC` and `BCC` | these headers are passed on, and nothing is routed by them |
//! | arguments of bindings | ignored |
//!
//! # What is refused
//! Each of these closes the channel with 540 NOT_IMPLEMENTED and names what is missing.
//!
//! | AMQP | |
//! |---|---|
//! | transactions | `tx.select` |
//! | exchanges of type headers | |
//! | internal exchanges, alternate exchanges, and any other argument of an exchange | |
//! | bindings between exchanges | |
//! | quorum queues and streams | `x-queue-type` other than `classic` |
//! | `x-max-length`, `x-max-length-bytes`, `x-overflow`, `x-single-active-consumer`, `x-queue-mode` and any other argument of a queue | |
//! | dead letters to an exchange, or without `x-dead-letter-routing-key` | |
//!
//! `immediate`, `prefetch-size`, `basic.recover` without `requeue`, `channel.flow` that stops
//! deliveries, and exchanges of unknown types close the connection, as in RabbitMQ. So do names of
//! queues and exchanges that are not UTF-8; a message with a text property that is not UTF-8 closes
//! the channel (406). Direct reply-to has no queue here (404).
//!
//! # What cannot be read
//! An item that is not one of kombu's messages goes to the list `QUEUE.undecodable` as it is, which
//! keeps the latest 1000, is logged, and counts in [`Redis::metrics`].

mod claims;
mod connect;
mod declared;
mod hub;
mod options;
mod owners;
mod places;
mod publish;
mod service;
mod topology;
mod wire;

pub use self::{
    claims::RedisClaim,
    options::{RedisLogin, RedisOptions, RedisOptionsError},
    service::{Redis, RedisLink, RedisMetrics},
};
