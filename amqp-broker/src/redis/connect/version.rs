//! The kind of server that answers.

use std::collections::HashMap;

use redis::{RedisError, RedisResult, Value, aio::MultiplexedConnection, from_redis_value_ref};

use super::failure::{NO_CLUSTER, backend_error};
use crate::backend::BackendError;

/// The oldest version that has all commands: `BLMOVE`, `CLIENT LIST ID` and `PEXPIRE` in scripts.
const OLDEST: (u32, u32) = (6, 2);

/// Checks that the server is no cluster, and not too old. One that tells nothing about itself is
/// taken as it is.
///
/// # Errors
/// [`BackendError::NotImplemented`] when it is another; otherwise when the connection is broken.
pub(crate) async fn check_server(connection: &mut MultiplexedConnection) -> Result<(), BackendError> {
    let described = describe(connection).await.map_err(|error| backend_error(&error))?;
    described.map_or(Ok(()), |server| server.check())
}

/// The answer of a server about itself.
#[derive(Debug, Default)]
struct Server {
    version: String,
    mode: String,
}

impl Server {
    fn check(&self) -> Result<(), BackendError> {
        let Server { version, mode } = self;
        if mode == "cluster" {
            return Err(BackendError::NotImplemented(NO_CLUSTER.to_owned()));
        }
        match read_version(version) {
            Some(read) if read < OLDEST => Err(BackendError::NotImplemented(format!(
                "this Redis is version {version}, and 6.2 or later is required"
            ))),
            _ => Ok(()),
        }
    }
}

/// Asks by `HELLO`, which no login is forbidden to use; a Redis before 6.2 refuses it without an
/// argument, and is asked by `INFO`.
async fn describe(connection: &mut MultiplexedConnection) -> RedisResult<Option<Server>> {
    let hello: RedisResult<Value> = redis::cmd("HELLO").query_async(connection).await;
    let refusal = match hello {
        Ok(answer) => return Ok(Some(of_hello(&answer))),
        Err(error) => error,
    };
    if is_broken(&refusal) {
        return Err(refusal);
    }
    match redis::cmd("INFO").arg("server").query_async::<String>(connection).await {
        Ok(info) => Ok(Some(of_info(&info))),
        Err(error) if is_broken(&error) => Err(error),
        Err(_) => Ok(None),
    }
}

fn is_broken(error: &RedisError) -> bool {
    error.is_io_error() || error.is_timeout()
}

fn of_hello(answer: &Value) -> Server {
    let fields: HashMap<String, Value> = from_redis_value_ref(answer).unwrap_or_default();
    let text = |name| fields.get(name).and_then(|value| from_redis_value_ref(value).ok());
    Server { version: text("version").unwrap_or_default(), mode: text("mode").unwrap_or_default() }
}

fn of_info(info: &str) -> Server {
    let text = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    Server { version: text("redis_version:").to_owned(), mode: text("redis_mode:").to_owned() }
}

/// Reads the first two numbers of a version.
fn read_version(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version.split('.').map(|number| number.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(info: &str) -> Result<(), BackendError> {
        of_info(info).check()
    }

    #[test]
    fn a_version_before_6_2_is_refused_by_its_number() {
        for version in ["6.0.16", "5.0.7", "2.8.24"] {
            let error = checked(&format!("# Server\r\nredis_version:{version}\r\nredis_mode:standalone\r\n"));
            let text = format!("this Redis is version {version}, and 6.2 or later is required");
            assert_eq!(error, Err(BackendError::NotImplemented(text)));
        }
        for version in ["6.2.0", "7.0.15", "10.1.0", "255.255.255", "unstable", ""] {
            assert_eq!(checked(&format!("redis_version:{version}\r\n")), Ok(()), "{version}");
        }
    }

    #[test]
    fn a_node_of_a_cluster_is_refused() {
        let mode = |mode: &str| Server { version: "7.0.15".to_owned(), mode: mode.to_owned() }.check();
        assert!(
            matches!(mode("cluster"), Err(BackendError::NotImplemented(text)) if text.contains("cluster"))
        );
        assert_eq!(mode("standalone").and(mode("sentinel")), Ok(()));
    }

    #[test]
    fn both_versions_of_the_protocol_say_the_same() {
        let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let pairs = [
            (text("version"), text("5.0.7")),
            (text("proto"), Value::Int(3)),
            (text("mode"), text("cluster")),
        ];
        let flat = pairs.iter().flat_map(|(name, value)| [name.clone(), value.clone()]).collect();
        for answer in [Value::Array(flat), Value::Map(pairs.to_vec())] {
            let server = of_hello(&answer);
            assert_eq!((&*server.version, &*server.mode), ("5.0.7", "cluster"), "{answer:?}");
        }
    }
}
