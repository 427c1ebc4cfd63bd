//! Clients of the `redis` crate, from options.

use redis::{Client, ConnectionAddr, IntoConnectionInfo, RedisConnectionInfo};

use super::failure::backend_error;
use crate::{
    backend::BackendError,
    redis::options::{RedisLogin, RedisOptions},
};

/// Returns a client that connects to an address, in the database and as the login says.
///
/// # Errors
/// When the crate refuses the address.
pub(super) fn client(
    options: &RedisOptions,
    login: &RedisLogin,
    address: ConnectionAddr,
) -> Result<Client, BackendError> {
    let redis =
        RedisConnectionInfo::default().set_db(options.database.into()).set_protocol(options.protocol());
    let info = address.into_connection_info().map_err(|error| backend_error(&error))?;
    let client = Client::open(
        info.set_tcp_settings(options.tcp_settings()).set_redis_settings(logged_in(redis, login)),
    );
    client.map_err(|error| backend_error(&error))
}

/// Returns the settings of a connection with a login.
pub(super) fn logged_in(mut redis: RedisConnectionInfo, login: &RedisLogin) -> RedisConnectionInfo {
    if let Some(user) = &login.user {
        redis = redis.set_username(user);
    }
    if let Some(password) = &login.password {
        redis = redis.set_password(password);
    }
    redis
}
