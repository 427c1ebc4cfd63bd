//! A backend on Redis, with the keys, envelopes and commands of kombu's Redis transport.

mod options;
mod wire;

pub use self::options::{
    QueueOrder, RedisLogin, RedisOptions, RedisOptionsError, UnsupportedScheme, unsupported_scheme,
};
#[allow(unused_imports, reason = "the commands that use it are not all written")]
use crate::kombu::envelope;
