//! Parameters of virtual hosts, which are their limits and their operator policies, and global
//! parameters, which have no meaning here and are kept.

use axum::{Router, extract::State, routing::get};
use serde_json::{Map, Value, json};

use crate::{
    config::vhosts::VHOST_LIMITS,
    management::{
        answer::{
            api_error::{ApiError, json_of},
            query::demand,
        },
        api::{
            extract::{Answer, Names, Object, deleted, put_answer},
            limits::{self, vhost_limits},
            policies,
        },
        login::caller::Caller,
        service::Service,
    },
};

pub(super) fn routes() -> Router<Service> {
    Router::new()
        .route("/parameters", get(all))
        .route("/parameters/{component}", get(of_component))
        .route("/parameters/{component}/{vhost}", get(of_vhost))
        .route("/global-parameters", get(all_global))
        .route("/global-parameters/{name}", get(global).put(put_global).delete(delete_global))
}

/// The parameters of a virtual host.
pub(super) fn of(service: &Service, vhost: &str) -> Vec<Value> {
    let limits = vhost_limits(service, vhost);
    let limits = (!limits.is_empty())
        .then(|| json!({ "component": "vhost-limits", "name": "limits", "value": limits, "vhost": vhost }));
    let policies = policies::listed(service, vhost, true).into_iter().map(|mut policy| {
        let name = policy.get("name").cloned().unwrap_or_default();
        if let Some(value) = policy.as_object_mut() {
            value.remove("name");
            value.remove("vhost");
        }
        json!({ "component": "operator_policy", "name": name, "value": policy, "vhost": vhost })
    });
    limits.into_iter().chain(policies).collect()
}

/// The global parameters.
pub(super) fn global_parameters(service: &Service) -> Vec<Value> {
    let all = service.broker.inner.parameters.all();
    all.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect()
}

/// Sets a parameter of a virtual host, as definitions have it.
///
/// # Errors
/// When it is none of those that exist.
pub(super) fn set(service: &Service, vhost: &str, entry: &Map<String, Value>) -> Result<(), ApiError> {
    demand(entry, &["component", "name", "value"])?;
    let text = |key: &str| entry.get(key).and_then(Value::as_str).unwrap_or_default();
    let (component, name) = (text("component"), text("name"));
    let failed =
        |why: String| ApiError::bad(format!("Validation failed\n\n{why}\n ({vhost}/{component}/{name})"));
    let none = Map::new();
    let value = match entry.get("value") {
        Some(Value::Object(value)) => value,
        // RabbitMQ writes an empty object as an empty list.
        Some(Value::Array(list)) if list.is_empty() => &none,
        _ => return Err(failed("value should be an object".to_owned())),
    };
    match component {
        "operator_policy" => {
            let policy = policies::policy(name, value, true)?;
            service.broker.set_policy(vhost, policy).map_err(policies::invalid)
        }
        "vhost-limits" => {
            let limits = limits::limits(&VHOST_LIMITS, value, "limits").map_err(failed)?;
            service.broker.limit_vhost(vhost, limits);
            Ok(())
        }
        _ => Err(failed(format!("component {component} not found"))),
    }
}

/// Checks that the caller may see parameters.
fn may_see(caller: &Caller) -> Result<(), ApiError> {
    let unauthorised = || ApiError::NotAuthorised("User not authorised to access object".to_owned());
    caller.must_make_policies().map_err(|_| unauthorised())
}

async fn all(State(service): State<Service>, caller: Caller) -> Answer {
    may_see(&caller)?;
    let vhosts = caller.entered_vhosts(&service);
    Ok(json_of(&vhosts.iter().flat_map(|vhost| of(&service, vhost)).collect()))
}

async fn of_component(
    State(service): State<Service>,
    caller: Caller,
    Names(component): Names<String>,
) -> Answer {
    may_see(&caller)?;
    let vhosts = caller.entered_vhosts(&service);
    let all = vhosts.iter().flat_map(|vhost| of(&service, vhost));
    Ok(json_of(&all.filter(|entry| entry.get("component") == Some(&json!(component))).collect()))
}

async fn of_vhost(
    State(service): State<Service>,
    caller: Caller,
    Names((component, vhost)): Names<(String, String)>,
) -> Answer {
    caller.must_enter(&service, &vhost)?;
    may_see(&caller)?;
    let all = of(&service, &vhost).into_iter();
    Ok(json_of(&all.filter(|entry| entry.get("component") == Some(&json!(component))).collect()))
}

async fn all_global(State(service): State<Service>, caller: Caller) -> Answer {
    may_see(&caller)?;
    Ok(json_of(&global_parameters(&service).into()))
}

async fn global(State(service): State<Service>, caller: Caller, Names(name): Names<String>) -> Answer {
    may_see(&caller)?;
    let found = service.broker.inner.parameters.get(&name);
    let value = found.ok_or(ApiError::NotFound)?;
    Ok(json_of(&json!({ "name": name, "value": value })))
}

async fn put_global(
    State(service): State<Service>,
    caller: Caller,
    Names(name): Names<String>,
    Object(mut body): Object,
) -> Answer {
    caller.must_administrate()?;
    demand(&body, &["value"])?;
    let value = body.remove("value").unwrap_or_default();
    Ok(put_answer(service.broker.inner.parameters.put(name, value)))
}

async fn delete_global(State(service): State<Service>, caller: Caller, Names(name): Names<String>) -> Answer {
    caller.must_administrate()?;
    deleted(service.broker.inner.parameters.remove(&name))
}
