//! Exchanges.

use amqp_codec::method::exchange;
use axum::{Router, extract::State, routing::get};
use serde_json::{Map, Value, json};

use super::extract::{Answer, Names, Object, deleted, put_answer};
use crate::management::{
    amqp::direct::{Direct, short},
    answer::{
        api_error::ApiError,
        listing::{list, one},
        query::{Query, boolean, text},
        table::table,
    },
    login::caller::Caller,
    observed::walk,
    service::Service,
    shape::{
        binding,
        exchange::{self as shape, DEFAULT},
    },
};

pub(super) fn routes() -> Router<Service> {
    Router::new()
        .route("/exchanges", get(all))
        .route("/exchanges/{vhost}", get(of_vhost))
        .route("/exchanges/{vhost}/{exchange}", get(single).put(put).delete(delete))
        .route("/exchanges/{vhost}/{exchange}/bindings/source", get(from))
        .route("/exchanges/{vhost}/{exchange}/bindings/destination", get(to))
}

async fn shown(service: &Service, vhosts: &[String]) -> Vec<Value> {
    let mut all = Vec::new();
    for vhost in vhosts {
        let Some(host) = walk::host(&service.broker, vhost) else { continue };
        let (counters, samples) = (walk::counters(&host).default_exchange, &service.samples);
        all.push(Value::Object(shape::default_exchange(vhost, &counters, samples)));
        let exchanges = walk::exchanges(&host).await;
        all.extend(exchanges.iter().map(|exchange| Value::Object(shape::exchange(vhost, exchange, samples))));
    }
    all
}

async fn all(State(service): State<Service>, caller: Caller, query: Query) -> Answer {
    let all = shown(&service, &caller.entered_vhosts(&service)).await;
    list(all, &query, service.options.max_page_size)
}

async fn of_vhost(
    State(service): State<Service>,
    caller: Caller,
    Names(vhost): Names<String>,
    query: Query,
) -> Answer {
    caller.must_enter(&service, &vhost)?;
    list(shown(&service, &[vhost]).await, &query, service.options.max_page_size)
}

/// The exchange of this name.
async fn find(service: &Service, vhost: &str, name: &str) -> Result<Map<String, Value>, ApiError> {
    let host = walk::host(&service.broker, vhost).ok_or(ApiError::NotFound)?;
    if name == DEFAULT || name.is_empty() {
        let counters = walk::counters(&host).default_exchange;
        return Ok(shape::default_exchange(vhost, &counters, &service.samples));
    }
    let exchanges = walk::exchanges(&host).await;
    let found = exchanges.iter().find(|exchange| exchange.info.name == name);
    found.map(|exchange| shape::exchange(vhost, exchange, &service.samples)).ok_or(ApiError::NotFound)
}

async fn single(
    State(service): State<Service>,
    caller: Caller,
    Names((vhost, name)): Names<(String, String)>,
    query: Query,
) -> Answer {
    caller.must_enter(&service, &vhost)?;
    let mut shown = find(&service, &vhost, &name).await?;
    shown.insert("incoming".to_owned(), json!([]));
    shown.insert("outgoing".to_owned(), json!([]));
    Ok(one(shown.into(), &query))
}

async fn put(
    State(service): State<Service>,
    caller: Caller,
    Names((vhost, name)): Names<(String, String)>,
    Object(body): Object,
) -> Answer {
    caller.must_enter(&service, &vhost).map_err(|error| error.missing("vhost_not_found"))?;
    if name == DEFAULT {
        return Err(ApiError::NotAuthorised("Access refused.".to_owned()));
    }
    let kind = text(&body, "type")?.unwrap_or("direct");
    let declare = exchange::Declare {
        exchange: short(&name)?,
        kind: short(kind)?,
        durable: boolean(&body, "durable")?,
        auto_delete: boolean(&body, "auto_delete")?,
        internal: boolean(&body, "internal")?,
        arguments: table(body.get("arguments"))?,
        ..Default::default()
    };
    let is_new = find(&service, &vhost, &name).await.is_err();
    let declared = Direct::once(&service.broker, &caller.user, &vhost, declare).await;
    declared.map_err(|error| unknown_type(error, kind))?;
    Ok(put_answer(is_new))
}

/// Over HTTP RabbitMQ has other words for an unknown type than over AMQP.
fn unknown_type(error: ApiError, kind: &str) -> ApiError {
    match &error {
        ApiError::Refused(_, why) if why.contains("unknown exchange type") => {
            ApiError::bad(format!("invalid exchange type '{kind}'"))
        }
        _ => error,
    }
}

async fn delete(
    State(service): State<Service>,
    caller: Caller,
    Names((vhost, name)): Names<(String, String)>,
    query: Query,
) -> Answer {
    caller.must_enter(&service, &vhost)?;
    find(&service, &vhost, &name).await?;
    if name == DEFAULT {
        return Err(ApiError::NotAuthorised("Access refused.".to_owned()));
    }
    let if_unused = query.is("if-unused");
    let delete = exchange::Delete { exchange: short(&name)?, if_unused, ..Default::default() };
    Direct::once(&service.broker, &caller.user, &vhost, delete).await?;
    deleted(true)
}

async fn from(
    State(service): State<Service>,
    caller: Caller,
    Names((vhost, name)): Names<(String, String)>,
    query: Query,
) -> Answer {
    bindings(&service, &caller, (&vhost, &name), &query, true).await
}

async fn to(
    State(service): State<Service>,
    caller: Caller,
    Names((vhost, name)): Names<(String, String)>,
    query: Query,
) -> Answer {
    bindings(&service, &caller, (&vhost, &name), &query, false).await
}

async fn bindings(
    service: &Service,
    caller: &Caller,
    (vhost, name): (&str, &str),
    query: &Query,
    are_from: bool,
) -> Answer {
    caller.must_enter(service, vhost)?;
    find(service, vhost, name).await?;
    let host = walk::host(&service.broker, vhost).ok_or(ApiError::NotFound)?;
    let all: Vec<Value> = match name == DEFAULT {
        true if are_from => {
            let queues = walk::queues(&host).await;
            let names = queues.iter().map(|queue| binding::default_binding(&queue.name.to_text()));
            names.map(|own| binding::binding(vhost, &own)).collect()
        }
        true => Vec::new(),
        false => {
            let own = walk::bindings(&host).await.into_iter().filter(|binding| match are_from {
                true => binding.source == name,
                false => binding.to_exchange && binding.destination == name,
            });
            own.map(|own| binding::binding(vhost, &own)).collect()
        }
    };
    list(all, query, service.options.max_page_size)
}
