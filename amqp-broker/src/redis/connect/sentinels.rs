//! Finding the master by its sentinels.

use redis::{
    Client, TlsMode,
    sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType},
};

use super::{
    failure::{backend_error, unavailable},
    tls::{address, certificates},
};
use crate::{
    backend::BackendError,
    redis::options::{RedisLogin, RedisOptions},
};

/// Asks the sentinels for the master.
pub(super) async fn by_sentinel(
    options: &RedisOptions,
    login: &RedisLogin,
    sentinels: &[(String, u16)],
) -> Result<Client, BackendError> {
    let name = options.master_name.as_deref().unwrap_or_default();
    let mut client = sentinel_client(options, login, sentinels, name)?;
    if options.min_other_sentinels > 0 {
        enough_others(&mut client, name, options.min_other_sentinels).await?;
    }
    client
        .async_get_client()
        .await
        .map_err(|error| unavailable(format!("no sentinel knows the master '{name}': {error}")))
}

fn sentinel_client(
    options: &RedisOptions,
    login: &RedisLogin,
    sentinels: &[(String, u16)],
    name: &str,
) -> Result<SentinelClient, BackendError> {
    let tls = options.tls_to_sentinels();
    let addresses = sentinels.iter().map(|(host, port)| address(tls.as_ref(), host, *port));
    let addresses = addresses.collect::<Result<Vec<_>, _>>()?;
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

/// A sentinel that is cut off from the others is not believed.
async fn enough_others(client: &mut SentinelClient, name: &str, least: u32) -> Result<(), BackendError> {
    let sentinel = client.async_get_sentinel_client().await.map_err(|error| backend_error(&error))?;
    let opened = sentinel.get_multiplexed_async_connection().await;
    let mut connection = opened.map_err(|error| backend_error(&error))?;
    let master = redis::cmd("SENTINEL").arg("MASTER").arg(name).query_async(&mut connection).await;
    let master: std::collections::HashMap<String, String> = master.map_err(|error| backend_error(&error))?;
    let others = master.get("num-other-sentinels").and_then(|others| others.parse::<u32>().ok());
    match others {
        Some(others) if others >= least => Ok(()),
        _ => Err(unavailable(format!(
            "the sentinel knows {} other sentinels, and {least} are needed",
            others.unwrap_or_default()
        ))),
    }
}
