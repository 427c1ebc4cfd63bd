//! Definitions: all that is configured, out and in, whole or of one virtual host.

use axum::{
    Router,
    extract::{FromRequest, Request, State},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::{Map, Value, json};

use super::{import, parameters};
use crate::{
    core::vhost::observe::QueueState,
    management::{
        answer::{
            api_error::{ApiError, json_of},
            query::Query,
            table::table_json,
        },
        api::{
            extract::{Answer, Names, body, media_type},
            permissions, policies, vhosts,
        },
        login::caller::Caller,
        observed::walk,
        service::Service,
        shape::{queue as queue_shape, user as user_shape},
    },
};

pub(in crate::management) fn routes() -> Router<Service> {
    Router::new()
        .route("/definitions", get(export).post(import))
        .route("/definitions/{vhost}", get(export_vhost).post(import_vhost))
        .merge(parameters::routes())
}

/// Definitions in a body: in JSON, or in a form with a file, as browsers upload it.
struct Definitions(Map<String, Value>);

impl FromRequest<Service> for Definitions {
    type Rejection = ApiError;

    async fn from_request(request: Request, service: &Service) -> Result<Self, ApiError> {
        let kind = media_type(request.headers());
        let content = match kind.as_str() {
            "application/json" => body(request, service).await?,
            "multipart/form-data" => {
                let form = body(request, service).await?;
                file_of(&form).ok_or(ApiError::bad("failed_to_parse_json"))?.to_vec()
            }
            _ => return Err(ApiError::MediaType),
        };
        match serde_json::from_slice(&content) {
            Ok(Value::Object(definitions)) => Ok(Definitions(definitions)),
            _ if content.is_empty() => Ok(Definitions(Map::new())),
            _ => Err(ApiError::bad("failed_to_parse_json")),
        }
    }
}

/// The content of the part `file` of a form (RFC 7578). The form's first line is its boundary.
fn file_of(form: &[u8]) -> Option<&[u8]> {
    let find = |text: &[u8], wanted: &[u8]| text.windows(wanted.len()).position(|found| found == wanted);
    let boundary = form.get(..find(form, b"\r\n")?)?;
    let mut rest = form.get(boundary.len() + 2..)?;
    loop {
        let head = find(rest, b"\r\n\r\n")?;
        let end = [b"\r\n", boundary].concat();
        // A part may be empty, and then its end begins within the end of its head.
        let length = find(rest.get(head + 2..)?, &end)?.saturating_sub(2);
        let (head, content) = (rest.get(..head)?, rest.get(head + 4..head + 4 + length)?);
        if find(head, b"name=\"file\"").is_some() {
            return Some(content);
        }
        rest = rest.get(head.len() + 4 + length + end.len()..)?;
    }
}

/// Returns the entities of a virtual host, which each entry names if `with_vhost` is set. Exclusive
/// queues belong to their connections, and predeclared exchanges to every virtual host.
async fn topology(service: &Service, vhost: &str, with_vhost: bool) -> Map<String, Value> {
    let named = |mut entry: Value| {
        if let Some(entry) = entry.as_object_mut() {
            match with_vhost {
                true => drop(entry.insert("vhost".to_owned(), vhost.into())),
                false => drop(entry.remove("vhost")),
            }
        }
        entry
    };
    let (mut queues, mut exchanges, mut bindings) = (Vec::new(), Vec::new(), Vec::new());
    if let Some(host) = walk::host(&service.broker, vhost) {
        let all: Vec<QueueState> = walk::queues(&host).await;
        let is_kept = |queue: &&QueueState| queue.owner.is_none();
        queues.extend(all.iter().filter(is_kept).map(|queue| named(queue_shape::declaration(queue).into())));
        let exclusive: Vec<_> =
            all.iter().filter(|queue| queue.owner.is_some()).map(|queue| queue.name.to_text()).collect();
        for exchange in walk::exchanges(&host).await.into_iter().map(|exchange| exchange.info) {
            if exchange.name.starts_with("amq.") {
                continue;
            }
            exchanges.push(named(json!({
                "arguments": table_json(&exchange.arguments),
                "auto_delete": exchange.auto_delete,
                "durable": exchange.durable,
                "internal": exchange.internal,
                "name": exchange.name,
                "type": exchange.kind,
            })));
        }
        for binding in walk::bindings(&host).await {
            if !binding.to_exchange && exclusive.iter().any(|name| *name == binding.destination) {
                continue;
            }
            bindings.push(named(json!({
                "arguments": table_json(&binding.arguments),
                "destination": binding.destination,
                "destination_type": if binding.to_exchange { "exchange" } else { "queue" },
                "routing_key": binding.routing_key,
                "source": binding.source,
            })));
        }
    }
    let policies = policies::listed(service, vhost, false).into_iter().map(named).collect::<Vec<_>>();
    let parameters = parameters::of(service, vhost).into_iter().map(named).collect::<Vec<_>>();
    [
        ("bindings", bindings),
        ("exchanges", exchanges),
        ("parameters", parameters),
        ("policies", policies),
        ("queues", queues),
    ]
    .into_iter()
    .map(|(name, entries)| (name.to_owned(), Value::Array(entries)))
    .collect()
}

/// An answer with definitions, as a file if the query asks for one.
fn answer(definitions: &Value, query: &Query) -> Response {
    let mut response = json_of(definitions);
    let name = query.get("download").filter(|name| {
        !name.is_empty() && name.bytes().all(|octet| octet.is_ascii_alphanumeric() || b"._-".contains(&octet))
    });
    if let Some(value) =
        name.and_then(|name| HeaderValue::from_str(&format!("attachment; filename={name}")).ok())
    {
        response.headers_mut().insert(header::CONTENT_DISPOSITION, value);
    }
    response
}

async fn export(State(service): State<Service>, caller: Caller, query: Query) -> Answer {
    caller.must_administrate()?;
    let config = &service.broker.inner.config;
    let vhosts = config.vhosts.all();
    let users = config.users.list();
    let mut all = Map::new();
    all.insert("global_parameters".to_owned(), parameters::global_parameters(&service).into());
    all.insert(
        "permissions".to_owned(),
        permissions::shown(&service, user_shape::permissions, &vhosts).into(),
    );
    all.insert("product_name".to_owned(), config.product().into());
    all.insert("product_version".to_owned(), config.product_version().into());
    all.insert("rabbit_version".to_owned(), config.product_version().into());
    all.insert("rabbitmq_version".to_owned(), config.product_version().into());
    let topics = permissions::shown(&service, user_shape::topic_permissions, &vhosts);
    all.insert("topic_permissions".to_owned(), topics.into());
    let users: Vec<_> = users.iter().map(|(name, user)| user_shape::user(name, user)).collect();
    all.insert("users".to_owned(), users.into());
    let named: Vec<_> = vhosts.iter().map(|vhost| vhosts::definition(&service, vhost)).collect();
    all.insert("vhosts".to_owned(), named.into());
    for vhost in &vhosts {
        for (name, entries) in topology(&service, vhost, true).await {
            let (Value::Array(own), Value::Array(entries)) =
                (all.entry(name).or_insert_with(|| json!([])), entries)
            else {
                continue;
            };
            own.extend(entries);
        }
    }
    Ok(answer(&all.into(), &query))
}

async fn export_vhost(
    State(service): State<Service>,
    caller: Caller,
    Names(vhost): Names<String>,
    query: Query,
) -> Answer {
    caller.must_administrate()?;
    if !service.broker.inner.config.vhosts.has(&vhost) {
        return Err(ApiError::bad("vhost_not_found"));
    }
    let mut all = topology(&service, &vhost, false).await;
    all.insert("rabbit_version".to_owned(), service.broker.inner.config.product_version().into());
    Ok(answer(&all.into(), &query))
}

async fn import(State(service): State<Service>, caller: Caller, Definitions(body): Definitions) -> Answer {
    caller.must_administrate()?;
    import::all(&service, &body).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn import_vhost(
    State(service): State<Service>,
    caller: Caller,
    Names(vhost): Names<String>,
    Definitions(body): Definitions,
) -> Answer {
    caller.must_administrate()?;
    if !service.broker.inner.config.vhosts.has(&vhost) {
        return Err(ApiError::Missing("vhost_not_found".to_owned()));
    }
    import::topology(&service, &body, Some(&vhost)).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
