//! A Redis transport's URL and options, as kombu reads them.

#![allow(dead_code, unused_imports, reason = "the commands that use them are not all written")]

mod credentials;
mod error;
mod redis_options;
mod server;
mod settings;
mod url;
mod values;

pub(crate) use self::{
    credentials::Credentials,
    server::{RedisTls, Server},
};
pub use self::{
    credentials::RedisLogin,
    error::RedisOptionsError,
    redis_options::{QueueOrder, RedisOptions},
};

#[cfg(test)]
mod tests;
