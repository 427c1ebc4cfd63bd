//! Finding the master by its sentinels.

use std::{collections::HashMap, time::Duration};

use redis::{
    Client, RedisResult, TlsMode,
    sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType},
};

use tokio::time;

use super::{
    failure::{backend_error, unavailable},
    tls::{address, certificates},
};
use crate::{
    backend::BackendError,
    redis::options::{RedisLogin, RedisOptions},
};

/// Asks one sentinel after the other for the master, each for so long at most. As in redis-py, the
/// next is asked when one does not answer, or knows no master, or too few other sentinels.
pub(super) async fn by_sentinel(
    options: &RedisOptions,
    login: &RedisLogin,
    sentinels: &[(String, u16)],
    most: Duration,
) -> Result<Client, BackendError> {
    let name = options.master_name.as_deref().unwrap_or_default();
    let mut failures = Vec::new();
    for sentinel in sentinels {
        let client = sentinel_client(options, login, sentinel, name)?;
        let failure = match time::timeout(most, ask(client, name, options.min_other_sentinels)).await {
            Ok(Ok(client)) => return Ok(client),
            Ok(Err(failure)) => failure,
            Err(_) => "it does not answer in time".to_owned(),
        };
        failures.push(format!("{}:{}: {failure}", sentinel.0, sentinel.1));
    }
    Err(unavailable(format!("no sentinel knows the master '{name}': {}", failures.join("; "))))
}

/// Asks a sentinel for the master. One that is cut off from the others is not believed.
async fn ask(mut client: SentinelClient, name: &str, least: u32) -> Result<Client, String> {
    if least > 0 {
        let others = others(&mut client, name).await.map_err(|error| error.to_string())?;
        if others < least {
            return Err(format!("it knows {others} other sentinels, and {least} are needed"));
        }
    }
    client.async_get_client().await.map_err(|error| error.to_string())
}

fn sentinel_client(
    options: &RedisOptions,
    login: &RedisLogin,
    (host, port): &(String, u16),
    name: &str,
) -> Result<SentinelClient, BackendError> {
    let tls = options.tls_to_sentinels();
    let addresses = [address(tls.as_ref(), host, *port)?];
    let built = SentinelClientBuilder::new(addresses, name, SentinelServerType::Master);
    let mut builder = built.map_err(|error| backend_error(&error))?;
    builder = builder
        .set_client_to_redis_tcp_settings(options.tcp_settings())
        .set_client_to_sentinel_tcp_settings(options.tcp_settings())
        .set_client_to_redis_db(options.database.into())
        .set_client_to_redis_protocol(options.protocol());
    if let Some(user) = &login.user {
        builder = builder.set_client_to_redis_username(user);
    }
    if let Some(password) = &login.password {
        builder = builder.set_client_to_redis_password(password);
    }
    if let Some(user) = &options.sentinel_login.user {
        builder = builder.set_client_to_sentinel_username(user);
    }
    if let Some(password) = &options.sentinel_login.password {
        builder = builder.set_client_to_sentinel_password(password);
    }
    if let Some(tls) = &options.tls {
        let mode = if tls.verify { TlsMode::Secure } else { TlsMode::Insecure };
        builder =
            builder.set_client_to_redis_tls_mode(mode).set_client_to_redis_certificates(certificates(tls)?);
    }
    builder.build().map_err(|error| backend_error(&error))
}

/// Returns the number of other sentinels that a sentinel knows.
async fn others(client: &mut SentinelClient, name: &str) -> RedisResult<u32> {
    let sentinel = client.async_get_sentinel_client().await?;
    let mut connection = sentinel.get_multiplexed_async_connection().await?;
    let master = redis::cmd("SENTINEL").arg("MASTER").arg(name).query_async(&mut connection).await;
    let master: HashMap<String, String> = master?;
    Ok(master.get("num-other-sentinels").and_then(|others| others.parse().ok()).unwrap_or_default())
}
