//! The broker as a client sees it, over the in-process stream. What is in a `both!` runs on
//! RabbitMQ too.
//!
//! | what clients expect | shown in |
//! |---|---|
//! | greeting, offer, logins, virtual hosts, heartbeats, secrets, limits of what is agreed on | `greeting`, `limits` |
//! | permissions, and from where who logs in | `access`; changed meanwhile, `accounts` |
//! | nothing that a client wrote is logged as it is | `log_lines`; of the program, `tests/log.rs` |
//! | `connection.blocked` when memory is short | `limits`, `faults`; clients that go meanwhile, `absence` |
//! | closes that cross, and what comes behind them | `closing` |
//! | every refusal's scope, code, text and method | `errors` (ours, and in `differential` RabbitMQ's), `frames` |
//! | names with line ends | `errors` |
//! | exchanges of each type, bound to each other, alternate, internal, auto-delete | `behaviour`, `errors`; headers in `core/headers` |
//! | queues that are exclusive, auto-delete, server-named, expire, are full, have priorities | `behaviour` |
//! | which arguments each type of queue and consumer takes, and which make a difference | `differential`, `core/equivalence` |
//! | `CC` and `BCC`, properties byte for byte, user-id, expiration | `copies`, `behaviour`, `errors`, `dead_letters` |
//! | messages that expire behind others | `leftovers`, `deliveries` |
//! | confirms, returns, refusals by full queues, transactions | `behaviour`, `sequences`; what of them is written together, `commits`, `entangled`, `waiting` |
//! | prefetch in both scopes, round robin, priorities, one active consumer | `behaviour`; shared fairly, `shared_prefetch` |
//! | ack, nack, reject, recover, requeue to its place, redelivered | `behaviour`, `sequences` |
//! | consumer cancel notifications, after the answer to who causes them | `cancels` |
//! | consumer timeout | `behaviour` |
//! | dead letters: four reasons, `x-death`, circles, copies, `reject-publish-dlx`, long chains | `dead_letters`, `sequences`, `deliveries` |
//! | headers that nest deep, or are longer than a frame | `deep_headers` |
//! | quorum queues: delivery limit, order of what returns, what they refuse | `dead_letters`, `differential` |
//! | streams | `streams`, `core/stream` |
//! | direct reply-to | `reply_to` |
//! | what survives, and when it is confirmed | `durability`, `restarts`, `damage` |
//! | many connections, queues and messages; bodies shared by queues | `scale` |
//! | operations that are interrupted at every step | `pauses`; how much is done in a turn, `turns` |
//! | anything at all, in any order | `anything` (nothing breaks), `sequences` and, with consumers, `deliveries` (as RabbitMQ does) |

mod absence;
mod access;
mod accounts;
mod anything;
mod behaviour;
mod both;
mod cancels;
mod closing;
mod commits;
mod copies;
#[cfg(feature = "durable")]
mod damage;
mod dead_letters;
mod deep_headers;
mod deliveries;
mod differential;
#[cfg(feature = "durable")]
mod durability;
mod entangled;
mod errors;
mod errors_in_words;
mod faults;
mod frames;
mod greeting;
mod inspection;
mod leftovers;
mod limits;
mod log_lines;
mod pauses;
mod peer;
mod publish_faults;
mod reply_to;
#[cfg(feature = "durable")]
mod restarts;
mod scale;
mod sequences;
mod shared_prefetch;
mod steps;
mod streams;
mod turns;
mod waiting;
