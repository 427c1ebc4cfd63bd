//! The broker without IO: `(now, operation) -> effects`. No sockets, no clock, no threads, no
//! runtime.
//!
//! Time is milliseconds since the broker began. Effects on other connections go to a
//! [`effects::sink::Sink`]; what concerns the caller is returned.
//!
//! Each folder imports from those above it in this list only:
//!
//! | folder | what is in it |
//! |---|---|
//! | `core` itself | the budget of a turn, the limits of a virtual host, and what is counted |
//! | `collections` | arenas and segmented queues |
//! | `content` | messages: properties, headers and routing keys as bytes |
//! | `rabbitmq` | refusals, arguments and their equivalence, `x-death`, `CC` and `BCC`, Erlang terms, permissions |
//! | `journal` | the changes that are to survive the process |
//! | `entities` | queues, exchanges, connections, channels, consumers and their parts |
//! | `effects` | what is told to others than the caller |
//! | `work` | operations that take more than a turn |
//! | `vhost` | the virtual host and its operations |

pub(crate) mod budget;
pub(crate) mod collections;
pub(crate) mod content;
pub(crate) mod counters;
pub(crate) mod effects;
pub(crate) mod entities;
pub(crate) mod journal;
pub(crate) mod limits;
pub(crate) mod rabbitmq;
pub(crate) mod vhost;
pub(crate) mod work;
