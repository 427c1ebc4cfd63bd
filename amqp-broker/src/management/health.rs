//! Health, for whoever runs the broker: the state alone, without a login.

use axum::{Router, extract::State, http::StatusCode, routing::get};

use super::service::Service;

/// The routes of health.
pub(super) fn routes() -> Router<Service> {
    Router::new().route("/health/live", get(live)).route("/health/ready", get(ready))
}

/// The process answers.
async fn live() -> &'static str {
    "{\"status\":\"ok\"}"
}

/// The broker accepts clients: it has not failed, and does not end.
async fn ready(State(service): State<Service>) -> (StatusCode, &'static str) {
    match service.broker.inner.failure().is_some() || service.broker.inner.is_ending() {
        false => (StatusCode::OK, "{\"status\":\"ok\"}"),
        true => (StatusCode::SERVICE_UNAVAILABLE, "{\"status\":\"failed\"}"),
    }
}
