//! Finding the master by its sentinels.

use std::{collections::HashMap, time::Duration};

use redis::{
    Client, RedisResult,
    sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType},
};

use tokio::time;

use super::{
    client::client,
    failure::{backend_error, unavailable},
    tls::address,
};
use crate::{
    backend::BackendError,
    redis::options::{RedisLogin, RedisOptions},
};

/// Asks one sentinel after the other for the master, each for so long at most. As in redis-py, the
/// next is asked when one does not answer, or knows no master, or takes it for down, or knows too
/// few other sentinels; and also when the server that it names is no master any more.
pub(super) async fn by_sentinel(
    options: &RedisOptions,
    login: &RedisLogin,
    sentinels: &[(String, u16)],
    most: Duration,
) -> Result<Client, BackendError> {
    let name = options.master_name.as_deref().unwrap_or_default();
    let mut failures = Vec::new();
    for sentinel in sentinels {
        let asked = sentinel_client(options, sentinel, name)?;
        let failure = match time::timeout(most, master(options, login, asked, name)).await {
            Ok(Ok(master)) => return Ok(master),
            Ok(Err(failure)) => failure,
            Err(_) => "it does not answer in time".to_owned(),
        };
        failures.push(format!("{}:{}: {failure}", sentinel.0, sentinel.1));
    }
    Err(unavailable(format!("no sentinel knows the master '{name}': {}", failures.join("; "))))
}

/// Asks a sentinel for the master, and the master whether it is one.
async fn master(
    options: &RedisOptions,
    login: &RedisLogin,
    asked: SentinelClient,
    name: &str,
) -> Result<Client, String> {
    let state = state(asked, name).await.map_err(|error| error.to_string())?;
    let (host, port) = believed(&state, options.min_other_sentinels)?;
    let address = address(options.tls.as_ref(), host, port).map_err(|error| error.to_string())?;
    let master = client(options, login, address).map_err(|error| error.to_string())?;
    match role(&master).await {
        Ok(role) if role == "master" => Ok(master),
        Ok(role) => Err(format!("it names {host}:{port}, whose role is {role}")),
        Err(error) => Err(format!("it names {host}:{port}: {error}")),
    }
}

/// Returns the master's address from what a sentinel tells of it. A sentinel that is cut off from
/// the others is not believed.
fn believed(state: &HashMap<String, String>, least: u32) -> Result<(&str, u16), String> {
    let field = |name: &str| state.get(name).map_or("", String::as_str);
    let others: u32 = field("num-other-sentinels").parse().unwrap_or_default();
    if others < least {
        return Err(format!("it knows {others} other sentinels, and {least} are needed"));
    }
    let is = |flag: &str| field("flags").split(',').any(|has| has == flag);
    if !is("master") || is("s_down") || is("o_down") {
        return Err(format!("it takes the master for down, with the flags {}", field("flags")));
    }
    let port = field("port").parse().map_err(|_| "it tells no port of the master".to_owned())?;
    Ok((field("ip"), port))
}

/// Returns what a sentinel tells of a master
/// (<https://redis.io/docs/latest/operate/oss_and_stack/management/sentinel/>).
async fn state(mut asked: SentinelClient, name: &str) -> RedisResult<HashMap<String, String>> {
    let sentinel = asked.async_get_sentinel_client().await?;
    let mut connection = sentinel.get_multiplexed_async_connection().await?;
    redis::cmd("SENTINEL").arg("MASTER").arg(name).query_async(&mut connection).await
}

/// Returns a server's role. The command's further answers depend on it.
async fn role(server: &Client) -> RedisResult<String> {
    let mut connection = server.get_multiplexed_async_connection().await?;
    let answer: Vec<redis::Value> = redis::cmd("ROLE").query_async(&mut connection).await?;
    let role = answer.into_iter().next().unwrap_or(redis::Value::Nil);
    Ok(redis::from_redis_value(role)?)
}

/// Returns a client of a sentinel, which has a login and TLS of its own.
fn sentinel_client(
    options: &RedisOptions,
    (host, port): &(String, u16),
    name: &str,
) -> Result<SentinelClient, BackendError> {
    let tls = options.tls_to_sentinels();
    let addresses = [address(tls.as_ref(), host, *port)?];
    let built = SentinelClientBuilder::new(addresses, name, SentinelServerType::Master);
    let mut builder = built.map_err(|error| backend_error(&error))?;
    builder = builder.set_client_to_sentinel_tcp_settings(options.tcp_settings());
    if let Some(user) = &options.sentinel_login.user {
        builder = builder.set_client_to_sentinel_username(user);
    }
    if let Some(password) = &options.sentinel_login.password {
        builder = builder.set_client_to_sentinel_password(password);
    }
    builder.build().map_err(|error| backend_error(&error))
}
