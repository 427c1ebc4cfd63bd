//! Publishing and fetching messages.

use axum::{Router, extract::State, routing::post};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Map, Value, json};

use super::extract::{Answer, Names, Object};
use crate::management::{
    amqp::direct::Direct,
    answer::{
        api_error::{ApiError, json_of},
        query::demand,
    },
    login::caller::Caller,
    service::Service,
    shape::{exchange::DEFAULT, message},
};

/// The most messages that are fetched at once, and the most bytes of their bodies.
const MOST_MESSAGES: i64 = 10_000;
const MOST_BYTES: usize = 64 << 20;

pub(super) fn routes() -> Router<Service> {
    Router::new()
        .route("/exchanges/{vhost}/{exchange}/publish", post(publish))
        .route("/exchanges/{vhost}//publish", post(publish_by_default))
        .route("/queues/{vhost}/{queue}/get", post(get))
}

/// Where there is no virtual host, RabbitMQ 3.10 says that access is refused.
fn no_vhost(error: ApiError) -> ApiError {
    match error {
        ApiError::NotFound => ApiError::NotAuthorised("Access refused.".to_owned()),
        error => error,
    }
}

async fn publish(
    State(service): State<Service>,
    caller: Caller,
    Names((vhost, exchange)): Names<(String, String)>,
    Object(body): Object,
) -> Answer {
    let exchange = if exchange == DEFAULT { String::new() } else { exchange };
    publish_to(&service, &caller, &vhost, &exchange, &body).await
}

async fn publish_by_default(
    State(service): State<Service>,
    caller: Caller,
    Names(vhost): Names<String>,
    Object(body): Object,
) -> Answer {
    publish_to(&service, &caller, &vhost, "", &body).await
}

async fn publish_to(
    service: &Service,
    caller: &Caller,
    vhost: &str,
    exchange: &str,
    body: &Map<String, Value>,
) -> Answer {
    caller.must_enter(service, vhost).map_err(no_vhost)?;
    demand(body, &["routing_key", "properties", "payload", "payload_encoding"])?;
    let key = match body.get("routing_key") {
        Some(Value::String(key)) => key.clone(),
        Some(Value::Number(key)) => key.to_string(),
        _ => return Err(ApiError::unfit("not_string", "routing_key")),
    };
    let no_properties = Map::new();
    let properties = match body.get("properties") {
        Some(Value::Object(properties)) => properties,
        Some(Value::Array(none)) if none.is_empty() => &no_properties,
        _ => return Err(ApiError::unfit("not_object", "properties")),
    };
    let Some(Value::String(payload)) = body.get("payload") else {
        return Err(ApiError::bad("payload_not_string"));
    };
    let payload = match body.get("payload_encoding").and_then(Value::as_str) {
        Some("string") => payload.clone().into_bytes(),
        Some("base64") => {
            BASE64_STANDARD.decode(payload).map_err(|_| ApiError::unfit("not_base64", payload.as_str()))?
        }
        other => return Err(ApiError::unfit("unsupported_encoding", other)),
    };
    let properties = message::properties(properties)?;
    let mut direct = Direct::open(&service.broker, &caller.user, vhost).await?;
    // RabbitMQ, too, answers 400 where the exchange is not there.
    let routed = direct.publish(exchange, &key, &properties, &payload).await;
    let routed = routed.map_err(ApiError::of_publish)?;
    direct.close().await;
    Ok(json_of(&json!({ "routed": routed })))
}

/// The ways in which fetched messages are settled.
enum AckMode {
    Ack,
    Requeue,
    Reject,
}

async fn get(
    State(service): State<Service>,
    caller: Caller,
    Names((vhost, queue)): Names<(String, String)>,
    Object(body): Object,
) -> Answer {
    caller.must_enter(&service, &vhost).map_err(no_vhost)?;
    demand(&body, &["ackmode", "count", "encoding"])?;
    let mode = match body.get("ackmode").and_then(Value::as_str) {
        Some("ack_requeue_false") => AckMode::Ack,
        Some("ack_requeue_true" | "reject_requeue_true") => AckMode::Requeue,
        Some("reject_requeue_false") => AckMode::Reject,
        other => return Err(ApiError::unfit("unknown_ackmode", other)),
    };
    let as_base64 = match body.get("encoding").and_then(Value::as_str) {
        Some("auto") => false,
        Some("base64") => true,
        _ => return Err(ApiError::bad("Unsupported encoding. Please use auto or base64.")),
    };
    let number = |value: &Value| match value {
        Value::String(text) => text.parse::<i64>().ok(),
        value => value.as_i64(),
    };
    let count = body.get("count").unwrap_or(&Value::Null);
    let count = number(count).ok_or(ApiError::unfit("not_integer", count.clone()))?;
    let truncate = body.get("truncate").and_then(number).and_then(|most| usize::try_from(most).ok());
    // As in RabbitMQ a negative count means all messages.
    let count = if count < 0 { MOST_MESSAGES } else { count.min(MOST_MESSAGES) };
    let mut direct = Direct::open(&service.broker, &caller.user, &vhost).await?;
    let (mut shown, mut last, mut bytes) = (Vec::new(), None, 0);
    for _ in 0..count {
        let Some(got) = direct.get(&queue, matches!(mode, AckMode::Ack)).await.map_err(ApiError::of_get)?
        else {
            break;
        };
        last = Some(got.tag);
        bytes += got.body.len().min(truncate.unwrap_or(usize::MAX));
        shown.push(message::message(&got, as_base64, truncate));
        if bytes >= MOST_BYTES {
            break;
        }
    }
    if let Some(last) = last.filter(|_| !matches!(mode, AckMode::Ack)) {
        direct.nack_all(last, matches!(mode, AckMode::Requeue)).await?;
    }
    direct.close().await;
    Ok(json_of(&shown.into()))
}
