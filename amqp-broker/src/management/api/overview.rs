//! The broker as a whole.

use axum::{Router, extract::State, routing::get};
use serde_json::{Map, Value, json};

use super::extract::{Answer, Names};
use crate::{
    core::{
        counters::{Churn, MessageCounters, VhostCounters},
        vhost::observe::QueueState,
    },
    management::{
        answer::{
            api_error::{ApiError, json_of},
            listing::one,
            query::Query,
        },
        login::caller::Caller,
        observed::{connections::connections, process::ProcessState, walk},
        samples::counts::Counts,
        service::{CLUSTER, NODE, Service},
        shape::{history::add_history, stats},
    },
};

pub(super) fn routes() -> Router<Service> {
    Router::new()
        .route("/overview", get(overview))
        .route("/whoami", get(whoami))
        .route("/nodes", get(nodes))
        .route("/nodes/{name}", get(node))
        .route("/cluster-name", get(cluster_name))
        .route("/extensions", get(async |_: Caller| json_of(&json!([]))))
        .route(
            "/auth",
            get(async || json_of(&json!({ "enable_uaa": false, "uaa_client_id": "", "uaa_location": "" }))),
        )
        .route("/feature-flags", get(feature_flags))
}

/// There are none: everything that is here is on.
async fn feature_flags(caller: Caller) -> Answer {
    caller.must_administrate()?;
    Ok(json_of(&json!([])))
}

async fn whoami(caller: Caller) -> Answer {
    Ok(json_of(&json!({ "name": caller.user, "tags": caller.tags() })))
}

async fn cluster_name(_: Caller) -> Answer {
    Ok(json_of(&json!({ "name": CLUSTER })))
}

fn exchange_types() -> Value {
    let named = ["direct", "fanout", "headers", "topic"].map(|name| {
        let description = format!("AMQP {name} exchange, as per the AMQP specification");
        json!({ "description": description, "enabled": true, "name": name })
    });
    named.into_iter().collect()
}

/// The counts of virtual hosts that a caller may see.
#[derive(Default)]
struct Totals {
    counters: MessageCounters,
    churn: Churn,
    ready: usize,
    unacked: usize,
    objects: [usize; 5],
}

impl Totals {
    fn add(&mut self, counters: &VhostCounters, queues: &[QueueState], channels: MessageCounters) {
        self.churn += counters.churn;
        let mut all = MessageCounters::default();
        counters.deleted_queues.iter().for_each(|deleted| all += *deleted);
        for queue in queues {
            all += queue.counters;
            self.ready += queue.ready;
            self.unacked += queue.unacked;
        }
        // What is published counts on channels, what is delivered in queues.
        let MessageCounters { published, confirmed, returned, dropped, .. } = channels;
        self.counters += MessageCounters { published, confirmed, returned, dropped, ..all };
    }
}

async fn totals(service: &Service, vhosts: &[String]) -> Totals {
    let mut totals = Totals::default();
    for vhost in vhosts {
        let Some(host) = walk::host(&service.broker, vhost) else { continue };
        let queues = walk::queues(&host).await;
        let counters = walk::counters(&host);
        let mut channels = counters.closed_channels;
        walk::channels(&host).await.iter().for_each(|channel| channels += channel.counters);
        totals.add(&counters, &queues, channels);
        let ([connections, channels, consumers, queues], exchanges) =
            host.with(|_, shared| (shared.vhost.entity_counts(), shared.vhost.exchange_count()));
        let counts = [channels, connections, consumers, exchanges, queues];
        totals.objects.iter_mut().zip(counts).for_each(|(own, count)| *own += count);
    }
    totals
}

async fn overview(State(service): State<Service>, caller: Caller, query: Query) -> Answer {
    let vhosts = caller.visible_vhosts(&service);
    let totals = totals(&service, &vhosts).await;
    let (counts, rates) = (Counts::of(&totals.counters, totals.ready, totals.unacked), service.samples.all());
    let config = &service.broker.inner.config;
    let [channels, connections, consumers, exchanges, queues] = totals.objects;
    let mut queue_totals = Map::new();
    stats::add_depth(&mut queue_totals, &counts, &rates);
    let mut message_stats = stats::message_stats(&counts, &rates);
    if caller.monitors() {
        let history = |age, step| service.samples.history(age, step);
        add_history(&mut message_stats, &mut queue_totals, &query, history);
    }
    let mut shown = json!({
        "churn_rates": churn_rates(&totals.churn),
        "cluster_name": CLUSTER,
        "contexts": [],
        "disable_stats": false,
        "enable_queue_totals": false,
        "erlang_full_version": "",
        "erlang_version": "",
        "exchange_types": exchange_types(),
        "listeners": listeners(&service),
        "management_version": config.product_version(),
        "message_stats": message_stats,
        "node": NODE,
        "object_totals": {
            "channels": channels,
            "connections": connections,
            "consumers": consumers,
            "exchanges": exchanges,
            "queues": queues,
        },
        "product_name": config.product(),
        "product_version": config.product_version(),
        "queue_totals": queue_totals,
        "rabbitmq_version": config.product_version(),
        "rates_mode": "basic",
        "sample_retention_policies": { "basic": [600, 3600], "detailed": [600], "global": [600, 3600] },
        "statistics_db_event_queue": 0,
    });
    if let Some(shown) = shown.as_object_mut().filter(|_| !caller.monitors()) {
        ["contexts", "listeners", "node"].iter().for_each(|name| drop(shown.remove(*name)));
    }
    Ok(one(shown, &query))
}

/// Where the broker listens.
fn listeners(service: &Service) -> Value {
    let all = service.broker.inner.listening.all().into_iter();
    let shown = all.map(|(at, protocol)| {
        json!({
            "ip_address": at.ip().to_string(),
            "node": NODE,
            "port": at.port(),
            "protocol": protocol,
            "socket_opts": {},
        })
    });
    shown.collect()
}

/// Counts of entities that came and went, whose rates are not sampled.
fn churn_rates(churn: &Churn) -> Map<String, Value> {
    let mut rates = Map::new();
    for (name, value) in [
        ("channel_closed", churn.channels_closed),
        ("channel_created", churn.channels_opened),
        ("connection_closed", churn.connections_closed),
        ("connection_created", churn.connections_opened),
        ("queue_created", churn.queues_created),
        ("queue_declared", churn.queues_declared),
        ("queue_deleted", churn.queues_deleted),
    ] {
        stats::put(&mut rates, name, value, 0.0);
    }
    rates
}

async fn node_json(service: &Service) -> Value {
    let instance = &service.broker.inner;
    let (config, process) = (&instance.config, ProcessState::now());
    let hosts = instance.hosts();
    let is_any = |is: fn(&crate::session::alarm::Alarm) -> bool| {
        hosts.iter().any(|host| host.with(|_, shared| is(&shared.alarm)))
    };
    let uptime = u64::try_from(instance.began.elapsed().as_millis()).unwrap_or(u64::MAX);
    let churn = totals(service, &config.vhosts.all()).await.churn;
    let mut shown = churn_rates(&churn);
    let mechanisms = ["PLAIN", "AMQPLAIN"];
    let mechanisms = mechanisms.map(|name| json!({ "description": "", "enabled": true, "name": name }));
    let more = json!({
        "applications": [],
        "being_drained": false,
        "auth_mechanisms": mechanisms,
        "cluster_links": [],
        "contexts": [],
        "disk_free": process.disk_free,
        "disk_free_alarm": is_any(crate::session::alarm::Alarm::is_low_on_disk),
        "disk_free_limit": config.disk_free_limit,
        "enabled_plugins": ["rabbitmq_management", "rabbitmq_prometheus"],
        "exchange_types": exchange_types(),
        "fd_total": process.most_files,
        "fd_used": process.open_files,
        "mem_alarm": is_any(crate::session::alarm::Alarm::is_low_on_memory),
        "mem_limit": config.vhost_memory().saturating_mul(config.vhosts.count() as u64),
        "mem_used": process.memory,
        "name": NODE,
        "os_pid": std::process::id().to_string(),
        "partitions": [],
        "proc_total": null,
        "proc_used": null,
        "processors": process.processors,
        "rates_mode": "basic",
        "run_queue": 0,
        "running": true,
        "sockets_total": process.most_files,
        "sockets_used": connections(&service.broker).await.len(),
        "type": "disc",
        "uptime": uptime,
    });
    if let Value::Object(more) = more {
        shown.extend(more);
    }
    for (name, rate) in ["fd_used", "mem_used", "disk_free"].iter().zip(service.samples.process()) {
        shown.insert(format!("{name}_details"), json!({ "rate": rate }));
    }
    shown.into()
}

async fn nodes(State(service): State<Service>, caller: Caller, query: Query) -> Answer {
    caller.must_monitor()?;
    let node = node_json(&service).await;
    crate::management::answer::listing::list(vec![node], &query, service.options.max_page_size)
}

async fn node(
    State(service): State<Service>,
    caller: Caller,
    Names(name): Names<String>,
    query: Query,
) -> Answer {
    caller.must_monitor()?;
    match name == NODE {
        true => Ok(one(node_json(&service).await, &query)),
        false => Err(ApiError::NotFound),
    }
}
