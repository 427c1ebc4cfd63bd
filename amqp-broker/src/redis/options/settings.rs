//! Options by the names that they have in kombu.

use std::collections::BTreeMap;

use serde::{Deserialize, de::IgnoredAny};

use super::{
    credentials::RedisLogin,
    error::RedisOptionsError,
    keep_alive::KeepAlive,
    redis_options::RedisOptions,
    server::RedisTls,
    values::{boolean, number, optional_number, optional_seconds, optional_text, seconds, steps, text},
};
use crate::{backend::QueueOrder, kombu::envelope::BodyEncoding};

type Result<T> = std::result::Result<T, RedisOptionsError>;

impl RedisOptions {
    /// Sets an option by its name in a URL's query, which is that of kombu's `transport_options`,
    /// to a value as text.
    ///
    /// # Errors
    /// There is no such option, or its value is another.
    pub fn set(mut self, option: &str, value: &str) -> Result<Self> {
        self.set_in_place(option, value)?;
        Ok(self)
    }

    pub(super) fn set_in_place(&mut self, option: &str, value: &str) -> Result<()> {
        if option == "ssl" || option.starts_with("ssl_") {
            return self.set_tls(option, value);
        }
        match option {
            "virtual_host" => self.database = database(value)?,
            "visibility_timeout" => self.visibility_timeout = seconds(option, value)?,
            "unacked_key" => self.unacked_key = text(option, value)?,
            "unacked_index_key" => self.unacked_index_key = text(option, value)?,
            "unacked_mutex_key" => self.unacked_mutex_key = text(option, value)?,
            "unacked_mutex_expire" => self.unacked_mutex_expire = seconds(option, value)?,
            "unacked_restore_interval" => self.unacked_restore_interval = seconds(option, value)?,
            "unacked_restore_throttle" => self.unacked_restore_throttle = number(option, value)?,
            "unacked_restore_limit" => self.unacked_restore_limit = optional_number(option, value)?,
            "polling_interval" | "brpop_timeout" => drop(optional_seconds(option, value)?),
            "sep" => self.sep = text(option, value)?,
            "fanout_prefix" => self.fanout_prefix = fanout_prefix(value),
            "fanout_patterns" => self.fanout_patterns = boolean(option, value)?,
            "global_keyprefix" => self.global_keyprefix = value.to_owned(),
            "deadletter_queue" => self.deadletter_queue = optional_text(value),
            "higher_first" => self.higher_first = boolean(option, value)?,
            "wait_replicas" => self.wait_replicas = number(option, value)?,
            "wait_replicas_timeout" => self.wait_replicas_timeout = seconds(option, value)?,
            "scripting" => self.scripting = boolean(option, value)?,
            _ => return self.set_choice(option, value),
        }
        Ok(())
    }

    fn set_choice(&mut self, option: &str, value: &str) -> Result<()> {
        match option {
            "priority_steps" => *self = std::mem::take(self).priority_steps(&steps(option, value)?)?,
            "queue_order_strategy" => {
                self.queue_order_strategy = match value {
                    "round_robin" => QueueOrder::RoundRobin,
                    "priority" => QueueOrder::Priority,
                    "sorted" => QueueOrder::Sorted,
                    _ => return Err(RedisOptionsError::value(option, "round_robin, priority or sorted")),
                }
            }
            "body_encoding" => {
                self.body_encoding = match value.to_ascii_lowercase().as_str() {
                    "base64" => BodyEncoding::Base64,
                    "utf-8" => BodyEncoding::Utf8,
                    _ => return Err(RedisOptionsError::value(option, "base64 or utf-8")),
                }
            }
            "protocol" => {
                self.resp3 = match value {
                    "2" => false,
                    "3" => true,
                    _ => return Err(RedisOptionsError::value(option, "2 or 3")),
                }
            }
            "ack_emulation" if boolean(option, value)? => (),
            "ack_emulation" => {
                return Err(RedisOptionsError::value(option, "true: messages are always claimed"));
            }
            _ => return self.set_connection(option, value),
        }
        Ok(())
    }

    fn set_connection(&mut self, option: &str, value: &str) -> Result<()> {
        match option {
            "socket_timeout" => self.socket_timeout = optional_seconds(option, value)?,
            "socket_connect_timeout" => self.socket_connect_timeout = optional_seconds(option, value)?,
            "socket_keepalive" => self.socket_keepalive = boolean(option, value)?,
            "socket_keepalive_options" => self.keep_alive = KeepAlive::read(option, value)?,
            "health_check_interval" => self.health_check_interval = seconds(option, value)?,
            "retry_on_timeout" => self.retry_on_timeout = boolean(option, value)?,
            "max_connections" => self.max_connections = number(option, value)?,
            "client_name" => self.client_name = optional_text(value),
            "reauth_check_interval" => self.reauth_check_interval = seconds(option, value)?,
            "master_name" => self.master_name = optional_text(value),
            "min_other_sentinels" => self.min_other_sentinels = number(option, value)?,
            "sentinel_kwargs" => self.set_sentinel(option, value)?,
            "sentinel_fanout_compat" => self.sentinel_fanout_compat = boolean(option, value)?,
            _ => return without_effect(option, value),
        }
        Ok(())
    }

    fn set_tls(&mut self, option: &str, value: &str) -> Result<()> {
        if option == "ssl" {
            let wanted = boolean(option, value)?;
            self.tls = wanted.then(|| self.tls.take().unwrap_or_default());
            return Ok(());
        }
        let mut tls = self.tls.take().unwrap_or_default();
        tls.set(option, value)?;
        self.tls = Some(tls);
        Ok(())
    }

    fn set_sentinel(&mut self, option: &str, value: &str) -> Result<()> {
        // The reason might quote a password.
        let arguments: SentinelArguments = serde_json::from_str(value).map_err(|_| {
            let expected = "a JSON object with username, password, socket_timeout, ssl and the options of ssl, each optional";
            RedisOptionsError::value(option, expected)
        })?;
        if let Some(unknown) = arguments.others.into_keys().next() {
            return Err(RedisOptionsError::UnknownSentinelOption(unknown));
        }
        self.sentinel_login = RedisLogin { user: arguments.username, password: arguments.password };
        (self.sentinel_tls, self.sentinel_ssl) = (arguments.ssl.unwrap_or(false), RedisTls::default());
        self.sentinel_timeout = match arguments.socket_timeout {
            Some(time) => Some(seconds("socket_timeout in sentinel_kwargs", &time.to_string())?),
            None => None,
        };
        let check_hostname = arguments.ssl_check_hostname.map(|wanted| wanted.to_string());
        for (name, text) in [
            ("ssl_cert_reqs", arguments.ssl_cert_reqs),
            ("ssl_check_hostname", check_hostname),
            ("ssl_ca_certs", arguments.ssl_ca_certs),
            ("ssl_ca_data", arguments.ssl_ca_data),
            ("ssl_certfile", arguments.ssl_certfile),
            ("ssl_keyfile", arguments.ssl_keyfile),
        ] {
            if let Some(text) = text {
                self.sentinel_ssl.set(name, &text)?;
                self.sentinel_tls = arguments.ssl.unwrap_or(true);
            }
        }
        Ok(())
    }
}

/// The arguments of connections to sentinels.
#[derive(Deserialize)]
struct SentinelArguments {
    username: Option<String>,
    password: Option<String>,
    socket_timeout: Option<f64>,
    ssl: Option<bool>,
    ssl_cert_reqs: Option<String>,
    ssl_check_hostname: Option<bool>,
    ssl_ca_certs: Option<String>,
    ssl_ca_data: Option<String>,
    ssl_certfile: Option<String>,
    ssl_keyfile: Option<String>,
    /// All others: their names are told, and their values, which might be passwords, are not
    /// even read.
    #[serde(flatten)]
    others: BTreeMap<String, IgnoredAny>,
}

impl RedisTls {
    fn set(&mut self, option: &str, value: &str) -> Result<()> {
        match option {
            "ssl_cert_reqs" => {
                self.verify = match value.to_ascii_lowercase().trim_start_matches("cert_") {
                    "required" | "optional" => true,
                    "none" => false,
                    _ => return Err(RedisOptionsError::value(option, "required, optional or none")),
                }
            }
            "ssl_check_hostname" => self.check_hostname = boolean(option, value)?,
            "ssl_ca_certs" => self.ca_certs = optional_text(value).map(Into::into),
            "ssl_ca_data" => self.ca_data = optional_text(value),
            "ssl_certfile" => self.certfile = optional_text(value).map(Into::into),
            "ssl_keyfile" => self.keyfile = optional_text(value).map(Into::into),
            // Neither is checked here, as by default in Python.
            "ssl_validate_ocsp" | "ssl_validate_ocsp_stapled" if !boolean(option, value)? => {}
            _ => return Err(RedisOptionsError::option(option)),
        }
        Ok(())
    }
}

/// Checks the value of an option that the connections of kombu have and those here have not: one
/// attempt is made to connect, and whoever made it decides about the next.
fn without_effect(option: &str, value: &str) -> Result<()> {
    match option {
        "connect_timeout"
        | "connect_retries_timeout"
        | "interval_start"
        | "interval_step"
        | "interval_max"
        | "heartbeat" => optional_seconds(option, value).map(drop),
        "max_retries" => optional_number::<i64>(option, value).map(drop),
        "insist" => boolean(option, value).map(drop),
        "login_method" | "failover_strategy" => Ok(()),
        _ => Err(RedisOptionsError::option(option)),
    }
}

/// The prefix, or whether there is to be one.
fn fanout_prefix(value: &str) -> String {
    match value {
        "true" | "True" | "1" => "/{db}.".to_owned(),
        "false" | "False" | "0" => String::new(),
        prefix => prefix.to_owned(),
    }
}

/// Reads a database. As in kombu, one slash may precede it, and nothing at all means 0.
pub(super) fn database(text: &str) -> Result<u32> {
    let digits = text.strip_prefix('/').unwrap_or(text);
    if digits.is_empty() {
        return Ok(0);
    }
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| is_number).ok_or(RedisOptionsError::InvalidDatabase)
}
