//! Definitions: all that is configured, out and in, whole or of one virtual host.

use amqp_codec::method::{exchange, queue};
use axum::{
    Router,
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::{Map, Value, json};

use super::{
    extract::{Answer, Names, Object},
    permissions, policies, users,
};
use crate::{
    core::{rabbitmq::access::Permissions, vhost::observe::QueueState},
    management::{
        amqp::direct::{Direct, short},
        answer::{
            api_error::{ApiError, json_of},
            query::{Query, boolean, text},
            table::{table, table_json},
        },
        login::caller::Caller,
        observed::walk,
        service::Service,
        shape::{queue as queue_shape, user as user_shape},
    },
};

pub(super) fn routes() -> Router<Service> {
    Router::new()
        .route("/definitions", get(export).post(import))
        .route("/definitions/{vhost}", get(export_vhost).post(import_vhost))
}

/// What is declared in a virtual host, which each entry names if `with_vhost` is set. Exclusive
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
        for exchange in walk::exchanges(&host).await {
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
    // RabbitMQ has operator policies among the parameters.
    let operator_policies = policies::listed(service, vhost, true).into_iter().map(|policy| {
        let name = policy.get("name").cloned().unwrap_or_default();
        let mut value = policy;
        if let Some(value) = value.as_object_mut() {
            value.remove("name");
            value.remove("vhost");
        }
        named(json!({ "component": "operator_policy", "name": name, "value": value }))
    });
    let parameters: Vec<Value> = operator_policies.collect();
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
    all.insert("global_parameters".to_owned(), json!([]));
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
    let named: Vec<_> = vhosts.iter().map(|vhost| json!({ "name": vhost })).collect();
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
        return Err(ApiError::Missing("vhost_not_found".to_owned()));
    }
    let mut all = topology(&service, &vhost, false).await;
    all.insert("rabbit_version".to_owned(), service.broker.inner.config.product_version().into());
    Ok(answer(&all.into(), &query))
}

/// The entries of a list in definitions.
fn entries<'a>(definitions: &'a Map<String, Value>, name: &str) -> Vec<&'a Map<String, Value>> {
    let list = definitions.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    list.iter().filter_map(Value::as_object).collect()
}

fn name_of<'a>(entry: &'a Map<String, Value>, key: &str) -> Result<&'a str, ApiError> {
    text(entry, key)?.ok_or(ApiError::bad(format!("[{{key_missing,{key}}}]")))
}

async fn import(State(service): State<Service>, caller: Caller, Object(body): Object) -> Answer {
    caller.must_administrate()?;
    let broker = &service.broker;
    for user in entries(&body, "users") {
        let (tags, password) = (users::tags(user)?, users::password(user)?);
        broker.inner.config.users.put(name_of(user, "name")?.to_owned(), password, tags);
    }
    for vhost in entries(&body, "vhosts") {
        let created = broker.create_vhost(name_of(vhost, "name")?).await;
        created.map_err(|error| ApiError::bad(error.to_string()))?;
    }
    for entry in entries(&body, "permissions") {
        let (user, vhost) = (name_of(entry, "user")?, name_of(entry, "vhost")?);
        permissions::known(&service, vhost, user)?;
        broker.permit_in(user, vhost, permissions::permissions(entry)?);
    }
    for entry in entries(&body, "topic_permissions") {
        let (user, vhost) = (name_of(entry, "user")?, name_of(entry, "vhost")?);
        permissions::known(&service, vhost, user)?;
        let (exchange, topics) = permissions::topic_permissions(entry)?;
        broker.set_topic_permissions(user, vhost, exchange, topics);
    }
    import_topology(&service, &caller, &body, None).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn import_vhost(
    State(service): State<Service>,
    caller: Caller,
    Names(vhost): Names<String>,
    Object(body): Object,
) -> Answer {
    caller.must_administrate()?;
    if !service.broker.inner.config.vhosts.has(&vhost) {
        return Err(ApiError::Missing("vhost_not_found".to_owned()));
    }
    import_topology(&service, &caller, &body, Some(&vhost)).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Declares what definitions contain, in the virtual host that each entry names, or in this one.
/// Like RabbitMQ, who imports needs no permissions in the virtual hosts for it.
async fn import_topology(
    service: &Service,
    caller: &Caller,
    body: &Map<String, Value>,
    vhost: Option<&str>,
) -> Result<(), ApiError> {
    let place = |entry: &Map<String, Value>| match vhost {
        Some(vhost) => Ok(vhost.to_owned()),
        None => name_of(entry, "vhost").map(str::to_owned),
    };
    for entry in entries(body, "policies") {
        let policy = policies::policy(name_of(entry, "name")?, entry, false)?;
        service.broker.set_policy(&place(entry)?, policy).map_err(policies::invalid)?;
    }
    for entry in entries(body, "parameters") {
        if name_of(entry, "component")? != "operator_policy" {
            continue;
        }
        let value =
            entry.get("value").and_then(Value::as_object).ok_or(ApiError::bad("[{key_missing,value}]"))?;
        let policy = policies::policy(name_of(entry, "name")?, value, true)?;
        service.broker.set_policy(&place(entry)?, policy).map_err(policies::invalid)?;
    }
    let mut importer = Importer { service, user: &caller.user, open: None };
    for entry in entries(body, "queues") {
        let declare = queue::Declare {
            queue: short(name_of(entry, "name")?)?,
            durable: boolean(entry, "durable")?,
            auto_delete: boolean(entry, "auto_delete")?,
            arguments: table(entry.get("arguments"))?,
            ..Default::default()
        };
        let vhost = place(entry)?;
        // What is there stays as it is.
        let host = walk::host(&service.broker, &vhost);
        let is_there = host.is_some_and(|host| {
            host.with(|now, shared| shared.vhost.queue_state(now, declare.queue.as_bytes())).is_some()
        });
        if !is_there {
            importer.at(&vhost).await?.call(declare).await?;
        }
    }
    for entry in entries(body, "exchanges") {
        let (name, vhost) = (name_of(entry, "name")?, place(entry)?);
        let there = service.broker.exchanges(&vhost);
        if name.is_empty() || name.starts_with("amq.") || there.iter().any(|own| own.name == name) {
            continue;
        }
        let declare = exchange::Declare {
            exchange: short(name)?,
            kind: short(name_of(entry, "type")?)?,
            durable: boolean(entry, "durable")?,
            auto_delete: boolean(entry, "auto_delete")?,
            internal: boolean(entry, "internal")?,
            arguments: table(entry.get("arguments"))?,
            ..Default::default()
        };
        importer.at(&vhost).await?.call(declare).await?;
    }
    for entry in entries(body, "bindings") {
        let (source, destination) =
            (short(name_of(entry, "source")?)?, short(name_of(entry, "destination")?)?);
        let (routing_key, arguments) =
            (short(name_of(entry, "routing_key")?)?, table(entry.get("arguments"))?);
        let direct = importer.at(&place(entry)?).await?;
        match name_of(entry, "destination_type")? {
            "exchange" => {
                let bind =
                    exchange::Bind { destination, source, routing_key, arguments, ..Default::default() };
                direct.call(bind).await.map(drop)?;
            }
            _ => {
                let (queue, exchange) = (destination, source);
                let bind = queue::Bind { queue, exchange, routing_key, arguments, ..Default::default() };
                direct.call(bind).await.map(drop)?;
            }
        }
    }
    importer.close().await;
    Ok(())
}

/// Keeps a connection to the virtual host that is declared in.
struct Importer<'a> {
    service: &'a Service,
    user: &'a str,
    open: Option<(String, Direct)>,
}

impl Importer<'_> {
    async fn at(&mut self, vhost: &str) -> Result<&mut Direct, ApiError> {
        if self.open.as_ref().is_none_or(|(open, _)| open != vhost) {
            if let Some((_, direct)) = self.open.take() {
                direct.close().await;
            }
            let broker = &self.service.broker;
            if broker.inner.config.users.access(self.user, vhost).is_none() {
                // RabbitMQ declares what is imported itself; here the administrator does.
                broker.permit_in(self.user, vhost, Permissions::all());
            }
            let direct = Direct::open(broker, self.user, vhost).await?;
            self.open = Some((vhost.to_owned(), direct));
        }
        match &mut self.open {
            Some((_, direct)) => Ok(direct),
            None => Err(ApiError::NotFound),
        }
    }

    async fn close(self) {
        if let Some((_, direct)) = self.open {
            direct.close().await;
        }
    }
}
