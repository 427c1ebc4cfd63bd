//! Health checks.

use amqp_codec::{Properties, method::queue};
use axum::{
    Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::{Value, json};

use super::extract::{Answer, Names};
use crate::management::{
    amqp::direct::{Direct, short},
    answer::api_error::{ApiError, json_of},
    login::caller::Caller,
    service::{NODE, Service},
};

/// The queue that a test of aliveness declares, publishes to and fetches from.
const ALIVENESS: &str = "aliveness-test";

pub(super) fn routes() -> Router<Service> {
    Router::new()
        .route("/aliveness-test/{vhost}", get(aliveness))
        .route("/healthchecks/node", get(async |_: Caller| ok()))
        .route("/healthchecks/node/{name}", get(async |_: Caller| ok()))
        .route("/health/checks/alarms", get(alarms))
        .route("/health/checks/local-alarms", get(alarms))
        .route("/health/checks/virtual-hosts", get(virtual_hosts))
        .route("/health/checks/certificate-expiration/{within}/{unit}", get(certificates))
        .route("/health/checks/port-listener/{port}", get(port))
        .route("/health/checks/protocol-listener/{protocol}", get(protocol))
        .route("/health/checks/node-is-mirror-sync-critical", get(single_node))
        .route("/health/checks/node-is-quorum-critical", get(single_node))
}

fn ok() -> Response {
    json_of(&json!({ "status": "ok" }))
}

fn failed(mut why: Value) -> Response {
    if let Some(why) = why.as_object_mut() {
        why.insert("status".to_owned(), "failed".into());
    }
    (StatusCode::SERVICE_UNAVAILABLE, json_of(&why)).into_response()
}

async fn single_node(_: Caller) -> Answer {
    Ok(json_of(&json!({ "reason": "single node cluster", "status": "ok" })))
}

async fn aliveness(State(service): State<Service>, caller: Caller, Names(vhost): Names<String>) -> Answer {
    caller.must_enter(&service, &vhost)?;
    let mut direct = Direct::open(&service.broker, &caller.user, &vhost).await?;
    let declare = queue::Declare { queue: short(ALIVENESS)?, ..Default::default() };
    direct.call(declare).await.map_err(ApiError::of_get)?;
    let published = direct.publish("", ALIVENESS, &Properties::default(), b"test_message").await;
    published.map_err(ApiError::of_publish)?;
    let got = direct.get(ALIVENESS, true).await.map_err(ApiError::of_get)?;
    direct.close().await;
    match got {
        Some(_) => Ok(ok()),
        None => Ok(json_of(&json!({ "reason": "no message came", "status": "failed" }))),
    }
}

async fn alarms(State(service): State<Service>, _: Caller) -> Answer {
    let hosts = service.broker.inner.hosts();
    let held = |which: fn(&crate::session::alarm::Alarm) -> bool| {
        hosts.iter().any(|host| host.with(|_, shared| which(&shared.alarm)))
    };
    let mut active = Vec::new();
    if held(crate::session::alarm::Alarm::is_low_on_memory) {
        active.push(json!({ "node": NODE, "resource": "memory" }));
    }
    if held(crate::session::alarm::Alarm::is_low_on_disk) {
        active.push(json!({ "node": NODE, "resource": "disk" }));
    }
    match active.is_empty() {
        true => Ok(ok()),
        false => {
            Ok(failed(json!({ "alarms": active, "reason": "There are alarms in effect in the cluster" })))
        }
    }
}

async fn virtual_hosts(State(service): State<Service>, _: Caller) -> Answer {
    match service.broker.inner.failure() {
        None => Ok(ok()),
        // The failure names files, which an answer does not show.
        Some(_) => Ok(failed(json!({ "reason": "the broker has failed" }))),
    }
}

/// Nothing is known of certificates after the start.
async fn certificates(_: Caller, Names((within, unit)): Names<(String, String)>) -> Answer {
    if within.parse::<u32>().is_err() {
        return Err(ApiError::bad("Invalid expiration value."));
    }
    match unit.as_str() {
        "days" | "weeks" | "months" | "years" => Ok(ok()),
        _ => {
            let why = "Time unit not recognised. Supported units: days, weeks, months, years.";
            Err(ApiError::bad(why))
        }
    }
}

async fn port(State(service): State<Service>, _: Caller, Names(port): Names<String>) -> Answer {
    let port: u16 = port.parse().map_err(|_| ApiError::bad("Invalid port"))?;
    let ports: Vec<u16> = service.broker.inner.listening.all().iter().map(|(at, _)| at.port()).collect();
    match ports.contains(&port) {
        true => Ok(json_of(&json!({ "port": port, "status": "ok" }))),
        false => Ok(failed(json!({ "missing": port, "ports": ports, "reason": "No active listener" }))),
    }
}

async fn protocol(State(service): State<Service>, _: Caller, Names(protocol): Names<String>) -> Answer {
    let wanted = match protocol.as_str() {
        "amqp091" | "amqp" => "amqp",
        "amqps" | "amqp/ssl" => "amqp/ssl",
        other => other,
    };
    let protocols: Vec<&str> =
        service.broker.inner.listening.all().iter().map(|(_, protocol)| *protocol).collect();
    match protocols.contains(&wanted) {
        true => Ok(json_of(&json!({ "protocol": wanted, "status": "ok" }))),
        false => Ok(failed(json!({
            "missing": wanted,
            "protocols": protocols,
            "reason": "No active listener",
        }))),
    }
}
