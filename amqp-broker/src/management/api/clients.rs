//! Connections, channels and consumers of clients.

use amqp_codec::ReplyCode;
use axum::{Router, extract::State, http::HeaderMap, routing::get};
use serde_json::Value;

use super::extract::{Answer, Names, deleted};
use crate::{
    core::{entities::ids::ConnectionId, rabbitmq::refusal::reply_text},
    management::{
        answer::{
            api_error::ApiError,
            listing::{list, one},
            query::Query,
        },
        login::caller::Caller,
        observed::{
            connections::{ConnectionState, connection, connections},
            walk,
        },
        service::Service,
        shape::client as shape,
    },
    session::command::Command,
};

/// The reason that a client is given whose connection is closed.
const CLOSED: &str = "Closed via management plugin";

pub(super) fn routes() -> Router<Service> {
    Router::new()
        .route("/connections", get(all_connections))
        .route("/connections/username/{user}", get(connections_of_user).delete(close_of_user))
        .route("/connections/{name}", get(single_connection).delete(close))
        .route("/connections/{name}/channels", get(channels_of_connection))
        .route("/vhosts/{vhost}/connections", get(connections_of_vhost))
        .route("/channels", get(all_channels))
        .route("/channels/{name}", get(single_channel))
        .route("/vhosts/{vhost}/channels", get(channels_of_vhost))
        .route("/consumers", get(all_consumers))
        .route("/consumers/{vhost}", get(consumers_of_vhost))
}

/// Tells whether a caller may see a connection: its own, or any if it monitors.
fn sees(caller: &Caller, connection: &ConnectionState) -> bool {
    caller.monitors() || connection.user() == caller.user
}

/// The connections that a caller may see.
async fn visible(service: &Service, caller: &Caller) -> Vec<ConnectionState> {
    let mut all = connections(&service.broker).await;
    all.retain(|connection| sees(caller, connection));
    all
}

/// Returns those of a virtual host.
///
/// # Errors
/// When the caller may not see what is in it.
async fn visible_in(
    service: &Service,
    caller: &Caller,
    vhost: &str,
) -> Result<Vec<ConnectionState>, ApiError> {
    caller.must_see(service, vhost)?;
    let mut all = visible(service, caller).await;
    all.retain(|connection| connection.vhost() == vhost);
    Ok(all)
}

fn listed(service: &Service, connections: &[ConnectionState], query: &Query) -> Answer {
    let shown = connections.iter().map(|connection| shape::connection(connection, &service.samples));
    list(shown.collect(), query, service.options.max_page_size)
}

async fn all_connections(State(service): State<Service>, caller: Caller, query: Query) -> Answer {
    listed(&service, &visible(&service, &caller).await, &query)
}

async fn connections_of_vhost(
    State(service): State<Service>,
    caller: Caller,
    Names(vhost): Names<String>,
    query: Query,
) -> Answer {
    let all = visible_in(&service, &caller, &vhost).await?;
    listed(&service, &all, &query)
}

async fn connections_of_user(
    State(service): State<Service>,
    caller: Caller,
    Names(user): Names<String>,
    query: Query,
) -> Answer {
    let mut all = visible(&service, &caller).await;
    all.retain(|connection| connection.user() == user);
    listed(&service, &all, &query)
}

/// The connection of this name, if the caller may see it.
fn find(service: &Service, caller: &Caller, name: &str) -> Result<ConnectionState, ApiError> {
    let found = connection(&service.broker, name).ok_or(ApiError::NotFound)?;
    match sees(caller, &found) {
        true => Ok(found),
        false => Err(ApiError::NotAuthorised("User not authorised to access object".to_owned())),
    }
}

async fn single_connection(
    State(service): State<Service>,
    caller: Caller,
    Names(name): Names<String>,
    query: Query,
) -> Answer {
    let found = find(&service, &caller, &name)?;
    Ok(one(shape::connection(&found, &service.samples), &query))
}

/// Closes a connection for the reason that the request gives.
fn end(connection: &ConnectionState, headers: &HeaderMap) {
    let reason = headers.get("x-reason").and_then(|reason| reason.to_str().ok()).unwrap_or(CLOSED);
    let code = ReplyCode::CONNECTION_FORCED;
    connection.client.command(Command::Close { code, text: reply_text(code, reason) });
}

async fn close(
    State(service): State<Service>,
    caller: Caller,
    Names(name): Names<String>,
    headers: HeaderMap,
) -> Answer {
    let found = connection(&service.broker, &name).ok_or(ApiError::NotFound)?;
    if !(caller.administrates() || found.user() == caller.user) {
        return Err(ApiError::NotAuthorised("User not authorised to access object".to_owned()));
    }
    end(&found, &headers);
    deleted(true)
}

async fn close_of_user(
    State(service): State<Service>,
    caller: Caller,
    Names(user): Names<String>,
    headers: HeaderMap,
) -> Answer {
    if !caller.administrates() && user != caller.user {
        return Err(ApiError::NotAuthorised("User not authorised to access object".to_owned()));
    }
    let all = connections(&service.broker).await;
    all.iter().filter(|connection| connection.user() == user).for_each(|own| end(own, &headers));
    deleted(true)
}

/// The channels of connections, in their order and by number.
async fn channels(service: &Service, connections: &[ConnectionState]) -> Vec<Value> {
    let mut shown = Vec::new();
    for vhost in service.broker.inner.config.vhosts.all() {
        let Some(host) = walk::host(&service.broker, &vhost) else { continue };
        let mut own: Vec<_> = connections.iter().filter(|connection| connection.vhost() == vhost).collect();
        own.sort_by_key(|connection| connection.client.number);
        let by_id: std::collections::HashMap<ConnectionId, &ConnectionState> =
            own.iter().filter_map(|connection| Some((connection.id()?, *connection))).collect();
        let mut states = walk::channels(&host).await;
        states.retain(|channel| by_id.contains_key(&channel.connection));
        states.sort_by_key(|channel| {
            (by_id.get(&channel.connection).map(|connection| connection.client.number), channel.number)
        });
        for channel in &states {
            let Some(connection) = by_id.get(&channel.connection) else { continue };
            shown.push(Value::Object(shape::channel(connection, channel, &service.samples)));
        }
    }
    shown
}

async fn all_channels(State(service): State<Service>, caller: Caller, query: Query) -> Answer {
    let shown = channels(&service, &visible(&service, &caller).await).await;
    list(shown, &query, service.options.max_page_size)
}

async fn channels_of_vhost(
    State(service): State<Service>,
    caller: Caller,
    Names(vhost): Names<String>,
    query: Query,
) -> Answer {
    let all = visible_in(&service, &caller, &vhost).await?;
    list(channels(&service, &all).await, &query, service.options.max_page_size)
}

async fn channels_of_connection(
    State(service): State<Service>,
    caller: Caller,
    Names(name): Names<String>,
    query: Query,
) -> Answer {
    let found = find(&service, &caller, &name)?;
    list(channels(&service, &[found]).await, &query, service.options.max_page_size)
}

async fn single_channel(
    State(service): State<Service>,
    caller: Caller,
    Names(name): Names<String>,
    query: Query,
) -> Answer {
    let shown = channels(&service, &visible(&service, &caller).await).await;
    let found = shown.into_iter().find(|channel| channel.get("name").and_then(Value::as_str) == Some(&name));
    let mut found = found.ok_or(ApiError::NotFound)?;
    let consumers = consumers(&service, &caller, &service.broker.inner.config.vhosts.all()).await;
    let is_own = |consumer: &Value| {
        consumer.pointer("/channel_details/name").and_then(Value::as_str) == Some(name.as_str())
    };
    if let Some(object) = found.as_object_mut() {
        let own: Vec<Value> = consumers.into_iter().filter(is_own).collect();
        object.insert("consumer_details".to_owned(), own.into());
        object.insert("deliveries".to_owned(), Vec::<Value>::new().into());
        object.insert("publishes".to_owned(), Vec::<Value>::new().into());
    }
    Ok(one(found, &query))
}

/// The consumers in these virtual hosts that a caller may see.
async fn consumers(service: &Service, caller: &Caller, vhosts: &[String]) -> Vec<Value> {
    let (all, mut shown) = (visible(service, caller).await, Vec::new());
    for vhost in vhosts {
        let Some(host) = walk::host(&service.broker, vhost) else { continue };
        let own = all.iter().filter(|connection| connection.vhost() == vhost);
        let by_id: std::collections::HashMap<ConnectionId, &ConnectionState> =
            own.filter_map(|connection| Some((connection.id()?, connection))).collect();
        for consumer in walk::consumers(&host).await {
            if let Some(connection) = by_id.get(&consumer.connection) {
                shown.push(shape::consumer(connection, &consumer));
            }
        }
    }
    shown
}

async fn all_consumers(State(service): State<Service>, caller: Caller, query: Query) -> Answer {
    let vhosts = caller.visible_vhosts(&service);
    list(consumers(&service, &caller, &vhosts).await, &query, service.options.max_page_size)
}

async fn consumers_of_vhost(
    State(service): State<Service>,
    caller: Caller,
    Names(vhost): Names<String>,
    query: Query,
) -> Answer {
    caller.must_see(&service, &vhost)?;
    list(consumers(&service, &caller, &[vhost]).await, &query, service.options.max_page_size)
}
