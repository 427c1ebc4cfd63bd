//! Virtual hosts.

use axum::{Router, extract::State, routing::get};
use serde_json::{Map, Value, json};

use super::extract::{Answer, Names, Object, deleted, put_answer};
use crate::management::{
    answer::{
        api_error::ApiError,
        listing::{list, one},
        query::{Query, boolean, text},
    },
    login::caller::Caller,
    observed::walk,
    samples::counts::Counts,
    service::{NODE, Service},
    shape::stats,
};

pub(super) fn routes() -> Router<Service> {
    Router::new().route("/vhosts", get(all)).route("/vhosts/{vhost}", get(single).put(put).delete(delete))
}

/// The description and the tags of a virtual host.
fn described(service: &Service, vhost: &str) -> (String, Vec<String>) {
    let settings = service.broker.inner.config.vhosts.settings(vhost).unwrap_or_default();
    let is_default = vhost == "/" && settings.description.is_empty();
    let description = if is_default { "Default virtual host".to_owned() } else { settings.description };
    (description, settings.tags)
}

/// A virtual host in definitions.
pub(in crate::management) fn definition(service: &Service, vhost: &str) -> Value {
    if !service.broker.inner.config.profile().exports_descriptions {
        return json!({ "name": vhost });
    }
    let (description, tags) = described(service, vhost);
    let kind = "classic";
    json!({
        "default_queue_type": kind,
        "description": description,
        "metadata": { "default_queue_type": kind, "description": description, "tags": tags },
        "name": vhost,
        "tags": tags,
    })
}

/// The description and the tags that an object has, if it has them.
type Described = (Option<String>, Option<Vec<String>>);

/// Reads the description and the tags of a virtual host.
///
/// # Errors
/// When one of them is not what it has to be.
pub(in crate::management) fn description(object: &Map<String, Value>) -> Result<Described, ApiError> {
    Ok((text(object, "description")?.map(str::to_owned), tags(object)?))
}

/// Describes a virtual host. What is not given stays.
pub(in crate::management) fn describe(service: &Service, vhost: &str, (description, tags): Described) {
    service.broker.inner.config.vhosts.change(vhost, |settings| {
        settings.description = description.unwrap_or(std::mem::take(&mut settings.description));
        settings.tags = tags.unwrap_or(std::mem::take(&mut settings.tags));
    });
}

async fn shown(service: &Service, vhost: &str) -> Value {
    let (description, tags) = described(service, vhost);
    let mut shown = json!({
        "cluster_state": { NODE: "running" },
        "default_queue_type": "undefined",
        "description": description,
        "metadata": { "description": description, "tags": tags },
        "name": vhost,
        "tags": tags,
        "tracing": service.broker.is_tracing(vhost),
    });
    if let (Some(object), Some(host)) = (shown.as_object_mut(), walk::host(&service.broker, vhost)) {
        let counters = walk::counters(&host);
        let (mut all, mut channels) = (Default::default(), counters.closed_channels);
        let (mut ready, mut unacked) = (0, 0);
        counters.deleted_queues.iter().for_each(|deleted| all += *deleted);
        for queue in walk::queues(&host).await {
            all += queue.counters;
            ready += queue.ready;
            unacked += queue.unacked;
        }
        walk::channels(&host).await.iter().for_each(|channel| channels += channel.counters);
        let all: crate::core::counters::MessageCounters = all;
        let counters = crate::core::counters::MessageCounters {
            published: channels.published,
            confirmed: channels.confirmed,
            returned: channels.returned,
            dropped: channels.dropped,
            ..all
        };
        let (counts, rates) = (Counts::of(&counters, ready, unacked), service.samples.vhost(vhost));
        stats::add_depth(object, &counts, &rates);
        stats::add_message_stats(object, &counts, &rates);
    }
    shown
}

async fn all(State(service): State<Service>, caller: Caller, query: Query) -> Answer {
    let mut all = Vec::new();
    for vhost in caller.visible_vhosts(&service) {
        all.push(shown(&service, &vhost).await);
    }
    list(all, &query, service.options.max_page_size)
}

async fn single(
    State(service): State<Service>,
    caller: Caller,
    Names(vhost): Names<String>,
    query: Query,
) -> Answer {
    caller.must_administrate()?;
    caller.must_see(&service, &vhost)?;
    Ok(one(shown(&service, &vhost).await, &query))
}

/// The tags that an object names, as text with commas or as a list.
fn tags(object: &Map<String, Value>) -> Result<Option<Vec<String>>, ApiError> {
    let unfit = || ApiError::unfit("not_tags", "tags");
    let parted = |text: &String| text.split(',').map(|tag| tag.trim().to_owned()).collect::<Vec<_>>();
    let tags = match object.get("tags") {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(text)) => parted(text),
        Some(Value::Array(names)) => names
            .iter()
            .map(|name| name.as_str().map(str::to_owned).ok_or_else(unfit))
            .collect::<Result<_, _>>()?,
        Some(_) => return Err(unfit()),
    };
    Ok(Some(tags.into_iter().filter(|tag| !tag.is_empty()).collect()))
}

async fn put(
    State(service): State<Service>,
    caller: Caller,
    Names(vhost): Names<String>,
    Object(body): Object,
) -> Answer {
    caller.must_administrate()?;
    let description = description(&body)?;
    let tracing = body.contains_key("tracing").then(|| boolean(&body, "tracing")).transpose()?;
    let created = service.broker.create_vhost(&vhost).await;
    let is_new = created.map_err(|error| ApiError::bad(error.to_string()))?;
    describe(&service, &vhost, description);
    if let Some(tracing) = tracing {
        service.broker.set_tracing(&vhost, tracing);
    }
    if is_new {
        // As in RabbitMQ, who creates it may do everything there.
        let users = &service.broker.inner.config.users;
        if users.get(&caller.user).is_some_and(|user| user.permissions.is_some()) {
            let all = crate::core::rabbitmq::access::Permissions::all();
            service.broker.permit_in(&caller.user, &vhost, all);
        }
    }
    Ok(put_answer(is_new))
}

async fn delete(State(service): State<Service>, caller: Caller, Names(vhost): Names<String>) -> Answer {
    caller.must_administrate()?;
    let was_there = service.broker.delete_vhost(&vhost).await;
    deleted(was_there.map_err(|error| ApiError::bad(error.to_string()))?)
}
