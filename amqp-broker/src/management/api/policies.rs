//! Policies and operator policies.

use axum::{Router, extract::State, routing::get};
use serde_json::{Map, Value, json};

use super::extract::{Names, Object, deleted, put_answer};
use crate::{
    core::rabbitmq::policies::{
        invalid_policy::InvalidPolicy,
        policy::{Policy, PolicyInfo, PolicyTarget},
    },
    management::{
        answer::{
            api_error::ApiError,
            listing::{list, one},
            query::{Query, demand, text},
            table::{table, table_json},
        },
        login::caller::Caller,
        service::Service,
    },
};

pub(in crate::management) fn routes() -> Router<Service> {
    of_kind("/policies", false).merge(of_kind("/operator-policies", true))
}

/// The routes of policies, or of those of operators.
fn of_kind(path: &str, is_of_operator: bool) -> Router<Service> {
    let all = async move |State(service): State<Service>, caller: Caller, query: Query| {
        let mut shown = Vec::new();
        for vhost in caller.entered_vhosts(&service) {
            shown.extend(listed(&service, &vhost, is_of_operator));
        }
        list(shown, &query, service.options.max_page_size)
    };
    let of_vhost = async move |State(service): State<Service>,
                               caller: Caller,
                               Names(vhost): Names<String>,
                               query: Query| {
        may_read(&service, &caller, &vhost)?;
        list(listed(&service, &vhost, is_of_operator), &query, service.options.max_page_size)
    };
    let single = async move |State(service): State<Service>,
                             caller: Caller,
                             Names((vhost, name)): Names<(String, String)>,
                             query: Query| {
        if is_of_operator {
            caller.must_enter(&service, &vhost)?;
            caller.must_administrate()?;
        }
        may_read(&service, &caller, &vhost)?;
        let found = find(&service, &vhost, &name, is_of_operator).ok_or(ApiError::NotFound)?;
        Ok::<_, ApiError>(one(shown(&vhost, &found), &query))
    };
    let put = async move |State(service): State<Service>,
                          caller: Caller,
                          Names((vhost, name)): Names<(String, String)>,
                          Object(body): Object| {
        may_write(&service, &caller, &vhost, is_of_operator)
            .map_err(|error| error.missing("vhost_not_found"))?;
        let policy = policy(&name, &body, is_of_operator)?;
        let is_new = find(&service, &vhost, &name, is_of_operator).is_none();
        service.broker.set_policy(&vhost, policy).map_err(invalid)?;
        Ok::<_, ApiError>(put_answer(is_new))
    };
    let delete = async move |State(service): State<Service>,
                             caller: Caller,
                             Names((vhost, name)): Names<(String, String)>| {
        may_write(&service, &caller, &vhost, is_of_operator)?;
        deleted(match is_of_operator {
            true => service.broker.clear_operator_policy(&vhost, &name),
            false => service.broker.clear_policy(&vhost, &name),
        })
    };
    Router::new()
        .route(path, get(all))
        .route(&format!("{path}/{{vhost}}"), get(of_vhost))
        .route(&format!("{path}/{{vhost}}/{{name}}"), get(single).put(put).delete(delete))
}

fn unauthorised() -> ApiError {
    ApiError::NotAuthorised("User not authorised to access object".to_owned())
}

/// Checks that the caller may see a virtual host's policies.
fn may_read(service: &Service, caller: &Caller, vhost: &str) -> Result<(), ApiError> {
    caller.must_enter(service, vhost)?;
    caller.must_make_policies().map_err(|_| unauthorised())
}

/// Checks that the caller may change a virtual host's policies; those of operators are changed by
/// administrators.
fn may_write(service: &Service, caller: &Caller, vhost: &str, is_of_operator: bool) -> Result<(), ApiError> {
    if is_of_operator {
        caller.must_administrate()?;
    } else {
        caller.must_make_policies().map_err(|_| unauthorised())?;
    }
    caller.must_enter(service, vhost)
}

/// A policy as RabbitMQ shows it.
fn shown(vhost: &str, policy: &PolicyInfo) -> Value {
    json!({
        "apply-to": policy.target.name(),
        "definition": table_json(&policy.definition),
        "name": policy.name,
        "pattern": policy.pattern,
        "priority": policy.priority,
        "vhost": vhost,
    })
}

/// The policies of a virtual host.
pub(in crate::management) fn listed(service: &Service, vhost: &str, is_of_operator: bool) -> Vec<Value> {
    let policies = service.broker.policies(vhost).into_iter();
    let own = policies.filter(|policy| policy.is_of_operator == is_of_operator);
    own.map(|policy| shown(vhost, &policy)).collect()
}

fn find(service: &Service, vhost: &str, name: &str, is_of_operator: bool) -> Option<PolicyInfo> {
    let mut policies = service.broker.policies(vhost).into_iter();
    policies.find(|policy| policy.is_of_operator == is_of_operator && policy.name == name)
}

/// The policy that an object describes.
pub(in crate::management) fn policy(
    name: &str,
    object: &Map<String, Value>,
    is_of_operator: bool,
) -> Result<Policy, ApiError> {
    demand(object, &["pattern", "definition"])?;
    let pattern = text(object, "pattern")?.unwrap_or_default();
    let definition = table(object.get("definition"))?;
    let create = if is_of_operator { Policy::for_operators } else { Policy::new };
    let mut policy = create(name.to_owned(), pattern, definition).map_err(|error| match error {
        InvalidPolicy::InvalidPattern(why) => {
            failed(&format!("pattern should be regular expression but is invalid: {why}"))
        }
        other => invalid(other),
    })?;
    match text(object, "apply-to")? {
        None | Some("") => {}
        Some(target) => {
            let unknown = || {
                failed(&format!("apply-to '{target}' unrecognised; should be 'queues', 'exchanges' or 'all'"))
            };
            policy = policy.apply_to(PolicyTarget::named(target).ok_or_else(unknown)?);
        }
    }
    match object.get("priority") {
        None | Some(Value::Null) => Ok(policy),
        Some(priority) => {
            let unfit = || failed(&format!("priority should be a number, actually was {priority}"));
            Ok(policy.priority(priority.as_i64().ok_or_else(unfit)?))
        }
    }
}

pub(in crate::management) fn invalid(error: impl std::fmt::Display) -> ApiError {
    failed(&error.to_string())
}

/// The error of a policy that is not valid, in RabbitMQ's words.
fn failed(why: &str) -> ApiError {
    ApiError::bad(format!("Validation failed\n\n{why}\n"))
}
