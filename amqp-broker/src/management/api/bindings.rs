//! Bindings.

use amqp_codec::method::{exchange, queue};
use axum::{
    Router,
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::extract::{Answer, Names, Object, deleted};
use crate::{
    core::vhost::inspect::BindingInfo,
    management::{
        amqp::direct::{Direct, short},
        answer::{
            api_error::ApiError,
            listing::{list, one},
            query::Query,
            table::table,
        },
        login::caller::Caller,
        observed::walk,
        service::Service,
        shape::{
            binding::{binding, default_binding, properties_key},
            exchange::DEFAULT,
        },
    },
};

/// The octets that a segment of a path has in encoded form only (RFC 3986, 2.3).
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

pub(super) fn routes() -> Router<Service> {
    Router::new()
        .route("/bindings", get(all))
        .route("/bindings/{vhost}", get(of_vhost))
        .route("/bindings/{vhost}/e/{source}/{kind}/{destination}", get(between).post(bind))
        .route("/bindings/{vhost}/e/{source}/{kind}/{destination}/{key}", get(single).delete(unbind))
}

/// The bindings of a virtual host, those to the default exchange first.
async fn of(service: &Service, vhost: &str) -> Vec<BindingInfo> {
    let Some(host) = walk::host(&service.broker, vhost) else { return Vec::new() };
    let queues = walk::queues(&host).await;
    let mut all: Vec<_> = queues.iter().map(|queue| default_binding(&queue.name.to_text())).collect();
    let mut others = walk::bindings(&host).await;
    others.sort_by(|a, b| {
        let key = |binding: &BindingInfo| (binding.source.clone(), binding.destination.clone());
        key(a).cmp(&key(b)).then_with(|| a.routing_key.cmp(&b.routing_key))
    });
    all.extend(others);
    all
}

async fn all(State(service): State<Service>, caller: Caller, query: Query) -> Answer {
    let mut shown = Vec::new();
    for vhost in caller.entered_vhosts(&service) {
        shown.extend(of(&service, &vhost).await.iter().map(|own| binding(&vhost, own)));
    }
    list(shown, &query, service.options.max_page_size)
}

async fn of_vhost(
    State(service): State<Service>,
    caller: Caller,
    Names(vhost): Names<String>,
    query: Query,
) -> Answer {
    caller.must_enter(&service, &vhost)?;
    let shown = of(&service, &vhost).await.iter().map(|own| binding(&vhost, own)).collect();
    list(shown, &query, service.options.max_page_size)
}

/// The entities that a path names.
struct Ends {
    vhost: String,
    source: String,
    to_exchange: bool,
    destination: String,
}

impl Ends {
    fn new(vhost: String, source: String, kind: &str, destination: String) -> Result<Self, ApiError> {
        let to_exchange = match kind {
            "q" => false,
            "e" => true,
            _ => return Err(ApiError::NotFound),
        };
        let source = if source == DEFAULT { String::new() } else { source };
        Ok(Ends { vhost, source, to_exchange, destination })
    }

    /// The bindings between them.
    async fn bindings(&self, service: &Service) -> Vec<BindingInfo> {
        let all = of(service, &self.vhost).await;
        let is_between = |own: &BindingInfo| {
            own.source == self.source
                && own.to_exchange == self.to_exchange
                && own.destination == self.destination
        };
        all.into_iter().filter(is_between).collect()
    }

    async fn find(&self, service: &Service, key: &str) -> Result<BindingInfo, ApiError> {
        let all = self.bindings(service).await;
        all.into_iter().find(|own| properties_key(own) == key).ok_or(ApiError::NotFound)
    }
}

async fn between(
    State(service): State<Service>,
    caller: Caller,
    Names((vhost, source, kind, destination)): Names<(String, String, String, String)>,
    query: Query,
) -> Answer {
    let ends = Ends::new(vhost, source, &kind, destination)?;
    caller.must_enter(&service, &ends.vhost)?;
    let all = ends.bindings(&service).await;
    list(all.iter().map(|own| binding(&ends.vhost, own)).collect(), &query, service.options.max_page_size)
}

async fn single(
    State(service): State<Service>,
    caller: Caller,
    Names((vhost, source, kind, destination, key)): Names<(String, String, String, String, String)>,
    query: Query,
) -> Answer {
    let ends = Ends::new(vhost, source, &kind, destination)?;
    caller.must_enter(&service, &ends.vhost)?;
    let found = ends.find(&service, &key).await?;
    Ok(one(binding(&ends.vhost, &found), &query))
}

async fn bind(
    State(service): State<Service>,
    caller: Caller,
    Names((vhost, source, kind, destination)): Names<(String, String, String, String)>,
    Object(body): Object,
) -> Answer {
    let ends = Ends::new(vhost, source, &kind, destination)?;
    caller.must_enter(&service, &ends.vhost).map_err(|error| error.missing("vhost_not_found"))?;
    let key = match body.get("routing_key") {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(key)) => key.clone(),
        Some(Value::Number(key)) => key.to_string(),
        Some(other) => return Err(ApiError::unfit("not_string", other.clone())),
    };
    let (routing_key, arguments) = (short(&key)?, table(body.get("arguments"))?);
    let info = BindingInfo {
        source: ends.source.clone(),
        destination: ends.destination.clone(),
        to_exchange: ends.to_exchange,
        routing_key: key,
        arguments: arguments.clone(),
    };
    let (source, destination) = (short(&ends.source)?, short(&ends.destination)?);
    let mut direct = Direct::open(&service.broker, &caller.user, &ends.vhost).await?;
    match ends.to_exchange {
        true => {
            let bind = exchange::Bind { destination, source, routing_key, arguments, ..Default::default() };
            direct.call(bind).await.map(drop)?;
        }
        false => {
            let bind = queue::Bind {
                queue: destination,
                exchange: source,
                routing_key,
                arguments,
                ..Default::default()
            };
            direct.call(bind).await.map(drop)?;
        }
    }
    direct.close().await;
    let encoded = |text: &str| utf8_percent_encode(text, RESERVED).to_string();
    let location = format!("{}/{}", encoded(&ends.destination), encoded(&properties_key(&info)));
    let location = HeaderValue::from_str(&location).map_err(|error| ApiError::bad(error.to_string()))?;
    Ok((StatusCode::CREATED, [(header::LOCATION, location)]).into_response())
}

async fn unbind(
    State(service): State<Service>,
    caller: Caller,
    Names((vhost, source, kind, destination, key)): Names<(String, String, String, String, String)>,
) -> Answer {
    let ends = Ends::new(vhost, source, &kind, destination)?;
    caller.must_enter(&service, &ends.vhost)?;
    let BindingInfo { routing_key, arguments, .. } = ends.find(&service, &key).await?;
    let routing_key = short(&routing_key)?;
    let (source, destination) = (short(&ends.source)?, short(&ends.destination)?);
    let mut direct = Direct::open(&service.broker, &caller.user, &ends.vhost).await?;
    match ends.to_exchange {
        true => {
            let unbind =
                exchange::Unbind { destination, source, routing_key, arguments, ..Default::default() };
            direct.call(unbind).await.map(drop)?;
        }
        false => {
            let unbind = queue::Unbind {
                queue: destination,
                exchange: source,
                routing_key,
                arguments,
                ..Default::default()
            };
            direct.call(unbind).await.map(drop)?;
        }
    }
    direct.close().await;
    deleted(true)
}
