//! A backend on Redis, with the keys, envelopes and commands of kombu's Redis transport.

mod claims;
mod connect;
mod hub;
mod options;
mod places;
mod publish;
mod service;
mod topology;
mod wire;

pub use self::{
    claims::RedisClaim,
    options::{QueueOrder, RedisLogin, RedisOptions, RedisOptionsError},
    service::{Redis, RedisLink},
};
