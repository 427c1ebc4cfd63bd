//! TCP's keep-alive.

use std::time::Duration;

use redis::io::tcp::{TcpSettings, socket2::TcpKeepalive};
use serde::{Deserialize, Deserializer, de};

use super::error::RedisOptionsError;

/// The time for which a connection is idle before it is probed, and how often then. The system
/// decides what is not set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeepAlive {
    /// Seconds. The numbers are those of Linux, as Python's dictionaries have them.
    #[serde(default, alias = "4", rename = "TCP_KEEPIDLE", deserialize_with = "positive")]
    idle: Option<u32>,
    /// Seconds.
    #[serde(default, alias = "5", rename = "TCP_KEEPINTVL", deserialize_with = "positive")]
    interval: Option<u32>,
    #[serde(default, alias = "6", rename = "TCP_KEEPCNT", deserialize_with = "positive")]
    count: Option<u32>,
}

impl KeepAlive {
    /// Reads a JSON object.
    pub(super) fn read(option: &str, value: &str) -> Result<Self, RedisOptionsError> {
        serde_json::from_str(value).map_err(|_| {
            let expected = "a JSON object with positive numbers for TCP_KEEPIDLE, TCP_KEEPINTVL and TCP_KEEPCNT, each optional";
            RedisOptionsError::value(option, expected)
        })
    }

    /// The settings of sockets that have it.
    pub(super) fn settings(self) -> TcpSettings {
        let seconds = |seconds: u32| Duration::from_secs(seconds.into());
        let mut keep_alive = TcpKeepalive::new();
        if let Some(idle) = self.idle {
            keep_alive = keep_alive.with_time(seconds(idle));
        }
        if let Some(interval) = self.interval {
            keep_alive = keep_alive.with_interval(seconds(interval));
        }
        if let Some(count) = self.count {
            keep_alive = keep_alive.with_retries(count);
        }
        TcpSettings::default().set_keepalive(keep_alive)
    }
}

fn positive<'de, D: Deserializer<'de>>(number: D) -> Result<Option<u32>, D::Error> {
    match u32::deserialize(number)? {
        0 => Err(de::Error::custom("not positive")),
        number => Ok(Some(number)),
    }
}
