//! The broker as a client sees it, over the in-process stream. What is in a `both!` runs on
//! RabbitMQ too.
//!
//! | what clients expect | shown in |
//! |---|---|
//! | greeting, offer, logins, virtual hosts, heartbeats, secrets, limits of what is agreed on | `protocol/greeting`, `resources/limits` |
//! | permissions, and from where who logs in | `protocol/access`; changed meanwhile, `protocol/accounts` |
//! | permissions on routing keys, tags of users | `protocol/topics`, `gateway/permissions`; as RabbitMQ, `tests/suite/broker/users` |
//! | nothing that a client wrote is logged as it is | `texts/log_lines`; of the program, `tests/log.rs` |
//! | `connection.blocked` when memory is short | `resources/limits`, `embedded/faults`; clients that go meanwhile, `resources/absence` |
//! | closes that cross, and what comes behind them | `protocol/closing` |
//! | every refusal's scope, code, text and method | `protocol/errors` (ours, and in `protocol/differential` RabbitMQ's), `protocol/frames` |
//! | names with line ends | `protocol/errors` |
//! | exchanges of each type, bound to each other, alternate, internal, auto-delete | `queues/behaviour`, `protocol/errors`; headers in `core/entities/exchange/headers` |
//! | queues that are exclusive, auto-delete, server-named, expire, are full, have priorities | `queues/behaviour` |
//! | which arguments each type of queue and consumer takes, and which make a difference | `protocol/differential`, `core/rabbitmq/equivalence` |
//! | `CC` and `BCC`, properties byte for byte, user-id, expiration | `routing/copies`, `queues/behaviour`, `protocol/errors`, `routing/dead_letters` |
//! | messages that expire behind others | `queues/leftovers`, `queues/deliveries` |
//! | confirms, returns, refusals by full queues, transactions | `queues/behaviour`, `queues/sequences`; what of them is written together, `invariants/commits`, `entangled`, `waiting` |
//! | prefetch in both scopes, round robin, priorities, one active consumer | `queues/behaviour`; shared fairly, `queues/shared_prefetch` |
//! | ack, nack, reject, recover, requeue to its place, redelivered | `queues/behaviour`, `queues/sequences` |
//! | consumer cancel notifications, after the answer to who causes them | `queues/cancels` |
//! | consumer timeout | `queues/behaviour` |
//! | dead letters: four reasons, `x-death`, circles, copies, `reject-publish-dlx`, long chains | `routing/dead_letters`, `queues/sequences`, `queues/deliveries` |
//! | headers that nest deep, or are longer than a frame | `routing/deep_headers` |
//! | quorum queues: delivery limit, order of what returns, what they refuse | `routing/dead_letters`, `protocol/differential`; the order after a restart, `disk/restarts` and `tests/suite/broker/returned_order` |
//! | streams | `queues/streams`, `core/entities/stream` |
//! | direct reply-to | `routing/reply_to` |
//! | what survives, and when it is confirmed | `disk` |
//! | metrics and management over HTTP | `management`; as RabbitMQ, `tests/suite/management` |
//! | many connections, queues and messages; bodies shared by queues | `resources/scale` |
//! | operations that are interrupted at every step | `invariants/pauses`; how much is done in a turn, `invariants/turns` |
//! | where versions of RabbitMQ differ | `versions` |
//! | anything at all, in any order | `invariants/anything` (nothing breaks), `queues/sequences` and, with consumers, `queues/deliveries` (as RabbitMQ does) |

mod both;
#[cfg(feature = "durable")]
mod disk;
mod embedded;
mod gateway;
mod invariants;
#[cfg(any(feature = "filesystem", feature = "redis"))]
pub(crate) mod log;
#[cfg(feature = "management")]
mod management;
mod peer;
mod protocol;
mod queues;
#[cfg(feature = "redis")]
mod redis;
mod resources;
mod routing;
mod steps;
mod texts;
mod versions;
