//! Virtual hosts.

use axum::{Router, extract::State, routing::get};
use serde_json::{Value, json};

use super::extract::{Answer, Names, Object, deleted, put_answer};
use crate::management::{
    answer::{
        api_error::ApiError,
        listing::{list, one},
        query::Query,
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

async fn shown(service: &Service, vhost: &str) -> Value {
    let description = if vhost == "/" { "Default virtual host" } else { "" };
    let mut shown = json!({
        "cluster_state": { NODE: "running" },
        "default_queue_type": "undefined",
        "description": description,
        "metadata": { "description": description, "tags": [] },
        "name": vhost,
        "tags": [],
        "tracing": false,
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

async fn put(
    State(service): State<Service>,
    caller: Caller,
    Names(vhost): Names<String>,
    _: Object,
) -> Answer {
    caller.must_administrate()?;
    let created = service.broker.create_vhost(&vhost).await;
    let is_new = created.map_err(|error| ApiError::bad(error.to_string()))?;
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
