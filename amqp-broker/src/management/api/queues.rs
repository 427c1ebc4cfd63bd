//! Queues.

use amqp_codec::{ShortString, method::queue};
use axum::{
    Router,
    extract::State,
    routing::{delete as delete_route, get, post},
};
use serde_json::{Map, Value, json};

use super::extract::{Answer, Names, Object, deleted, put_answer};
use crate::{
    core::vhost::observe::QueueState,
    management::{
        amqp::direct::{Direct, short},
        answer::{
            api_error::ApiError,
            listing::{list, list_of, one},
            query::{Query, boolean, demand},
            table::table,
        },
        login::caller::Caller,
        observed::{
            connections::{ConnectionState, connections},
            walk,
        },
        service::Service,
        shape::{binding, client, history::add_history, queue as shape},
    },
};

pub(super) fn routes() -> Router<Service> {
    Router::new()
        .route("/queues", get(all))
        .route("/queues/{vhost}", get(of_vhost))
        .route("/queues/{vhost}/{queue}", get(single).put(put).delete(delete))
        .route("/queues/{vhost}/{queue}/contents", delete_route(purge))
        .route("/queues/{vhost}/{queue}/bindings", get(bindings))
        .route("/queues/{vhost}/{queue}/actions", post(act))
}

/// The queues of these virtual hosts, as a list.
async fn listed(service: &Service, vhosts: &[String], query: &Query) -> Answer {
    let mut all = Vec::new();
    let all_connections = connections(&service.broker).await;
    for vhost in vhosts {
        let Some(host) = walk::host(&service.broker, vhost) else { continue };
        all.extend(walk::queues(&host).await.into_iter().map(|queue| (vhost, queue)));
    }
    let name = |(_, queue): &(&String, QueueState)| queue.name.to_text().into_owned();
    let show = |(vhost, queue): (&String, QueueState)| {
        let mut shown = shape::queue(vhost, &queue, &service.samples);
        add_owner(&mut shown, vhost, &queue, &all_connections);
        Value::Object(shown)
    };
    list_of(all, query, service.options.max_page_size, name, show)
}

/// Adds the connection that an exclusive queue belongs to.
fn add_owner(
    shown: &mut Map<String, Value>,
    vhost: &str,
    queue: &QueueState,
    connections: &[ConnectionState],
) {
    let Some(owner) = queue.owner else { return };
    let mut owners = connections.iter().filter(|connection| connection.vhost() == vhost);
    if let Some(connection) = owners.find(|connection| connection.id() == Some(owner)) {
        let [(peer_host, peer_port), _] = connection.ends();
        let details = json!({
            "name": connection.client.name,
            "peer_host": peer_host,
            "peer_port": peer_port,
        });
        shown.insert("owner_pid_details".to_owned(), details);
    }
}

async fn all(State(service): State<Service>, caller: Caller, query: Query) -> Answer {
    listed(&service, &caller.entered_vhosts(&service), &query).await
}

async fn of_vhost(
    State(service): State<Service>,
    caller: Caller,
    Names(vhost): Names<String>,
    query: Query,
) -> Answer {
    caller.must_enter(&service, &vhost)?;
    listed(&service, &[vhost], &query).await
}

/// The queue of this name.
fn find(service: &Service, vhost: &str, name: &str) -> Result<QueueState, ApiError> {
    let host = walk::host(&service.broker, vhost).ok_or(ApiError::NotFound)?;
    let state = host.with(|now, shared| shared.vhost.queue_state(now, name.as_bytes()));
    state.ok_or(ApiError::NotFound)
}

async fn single(
    State(service): State<Service>,
    caller: Caller,
    Names((vhost, name)): Names<(String, String)>,
    query: Query,
) -> Answer {
    caller.must_enter(&service, &vhost)?;
    let queue = find(&service, &vhost, &name)?;
    let all = connections(&service.broker).await;
    let mut shown = shape::queue(&vhost, &queue, &service.samples);
    add_owner(&mut shown, &vhost, &queue, &all);
    let mut consumers = Vec::new();
    if let Some(host) = walk::host(&service.broker, &vhost) {
        let own = walk::consumers(&host).await.into_iter().filter(|consumer| consumer.queue == queue.name);
        for consumer in own {
            let mut connections = all.iter().filter(|connection| connection.vhost() == vhost);
            if let Some(connection) = connections.find(|found| found.id() == Some(consumer.connection)) {
                consumers.push(client::consumer(connection, &consumer));
            }
        }
    }
    shown.insert("consumer_details".to_owned(), consumers.into());
    let stats = shown.remove("message_stats");
    let mut message_stats = stats.as_ref().and_then(Value::as_object).cloned().unwrap_or_default();
    let history = |age, step| service.samples.queue_history(&vhost, &queue.name, age, step);
    add_history(&mut message_stats, &mut shown, &query, history);
    if stats.is_some() {
        shown.insert("message_stats".to_owned(), message_stats.into());
    }
    shown.insert("deliveries".to_owned(), json!([]));
    shown.insert("incoming".to_owned(), json!([]));
    Ok(one(shown.into(), &query))
}

async fn put(
    State(service): State<Service>,
    caller: Caller,
    Names((vhost, name)): Names<(String, String)>,
    Object(body): Object,
) -> Answer {
    caller.must_enter(&service, &vhost).map_err(|error| error.missing("vhost_not_found"))?;
    let declare = queue::Declare {
        queue: named(&name)?,
        durable: boolean(&body, "durable")?,
        auto_delete: boolean(&body, "auto_delete")?,
        arguments: table(body.get("arguments"))?,
        ..Default::default()
    };
    let is_new = find(&service, &vhost, &name).is_err();
    Direct::once(&service.broker, &caller.user, &vhost, declare).await?;
    Ok(put_answer(is_new))
}

/// A queue's name.
fn named(name: &str) -> Result<ShortString, ApiError> {
    let long =
        |_| ApiError::bad(format!("queue should be less than 255 bytes, actually was {}\n", name.len()));
    ShortString::try_from(name).map_err(long)
}

async fn delete(
    State(service): State<Service>,
    caller: Caller,
    Names((vhost, name)): Names<(String, String)>,
    query: Query,
) -> Answer {
    caller.must_enter(&service, &vhost)?;
    find(&service, &vhost, &name)?;
    let (if_unused, if_empty) = (query.is("if-unused"), query.is("if-empty"));
    let delete = queue::Delete { queue: short(&name)?, if_unused, if_empty, ..Default::default() };
    Direct::once(&service.broker, &caller.user, &vhost, delete).await?;
    deleted(true)
}

async fn purge(
    State(service): State<Service>,
    caller: Caller,
    Names((vhost, name)): Names<(String, String)>,
) -> Answer {
    caller.must_enter(&service, &vhost)?;
    find(&service, &vhost, &name)?;
    let purge = queue::Purge { queue: short(&name)?, ..Default::default() };
    Direct::once(&service.broker, &caller.user, &vhost, purge).await?;
    deleted(true)
}

async fn bindings(
    State(service): State<Service>,
    caller: Caller,
    Names((vhost, name)): Names<(String, String)>,
    query: Query,
) -> Answer {
    caller.must_enter(&service, &vhost)?;
    find(&service, &vhost, &name)?;
    let mut all = vec![binding::binding(&vhost, &binding::default_binding(&name))];
    if let Some(host) = walk::host(&service.broker, &vhost) {
        let own = walk::bindings(&host).await.into_iter();
        let own = own.filter(|binding| !binding.to_exchange && binding.destination == name);
        all.extend(own.map(|own| binding::binding(&vhost, &own)));
    }
    list(all, &query, service.options.max_page_size)
}

/// The actions are those of mirrored queues, which do not exist here and are in step.
async fn act(
    State(service): State<Service>,
    caller: Caller,
    Names((vhost, name)): Names<(String, String)>,
    Object(body): Object,
) -> Answer {
    caller.must_enter(&service, &vhost)?;
    find(&service, &vhost, &name)?;
    demand(&body, &["action"])?;
    match body.get("action").and_then(Value::as_str) {
        Some("sync" | "cancel_sync") => deleted(true),
        _ => Err(ApiError::unfit("unknown", body.get("action").cloned().unwrap_or_default())),
    }
}
