//! A Redis transport's URL and options, as kombu reads them.

mod credentials;
mod error;
mod keep_alive;
mod periods;
mod redis_options;
mod refused;
mod server;
mod settings;
mod url;
mod values;

pub(crate) use self::server::{RedisTls, Server};
pub use self::{credentials::RedisLogin, error::RedisOptionsError, redis_options::RedisOptions};

#[cfg(test)]
mod tests;
