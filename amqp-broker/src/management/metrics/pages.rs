//! The three pages: all objects together, each object, and chosen families of each object.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use axum::{
    Router,
    body::Body,
    extract::{FromRequestParts, Request, State},
    http::{HeaderMap, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use bytes::Bytes;
use futures_core::Stream;
use tokio::{sync::mpsc, task::yield_now};

use super::{
    channels::{self, ChannelMetric, CountedMetric},
    connections::{self, ConnectionMetric},
    global, node,
    queues::{self, QueueMetric},
    snapshot::Snapshot,
    text::{Format, Page, labels},
};
use crate::{
    core::vhost::observe::ChannelState,
    management::{answer::query::Query, login::caller::Caller, service::Service},
};

/// The size of the parts in which a page is sent, in bytes.
const PART: usize = 64 << 10;

/// The parts of a page that wait to be sent.
const WAITING: usize = 2;

/// The routes of metrics.
pub(in crate::management) fn routes(service: &Service) -> Router<Service> {
    Router::new()
        .route("/metrics", get(aggregated))
        .route("/metrics/per-object", get(per_object))
        .route("/metrics/detailed", get(detailed))
        .route_layer(middleware::from_fn_with_state(service.clone(), admit))
}

/// Lets everybody see metrics, or those only who may see what belongs to others.
async fn admit(State(service): State<Service>, request: Request, next: Next) -> Response {
    if !service.options.metrics_need_login {
        return next.run(request).await;
    }
    let (mut parts, body) = request.into_parts();
    let caller = Caller::from_request_parts(&mut parts, &service).await;
    match caller.and_then(|caller| caller.must_monitor()) {
        Ok(()) => next.run(Request::from_parts(parts, body)).await,
        Err(error) => error.into_response(),
    }
}

async fn aggregated(State(service): State<Service>, headers: HeaderMap) -> Response {
    let (mut writer, response) = begin(&headers, "rabbitmq_");
    tokio::spawn(async move {
        let snapshot = Snapshot::take(&service.broker, &[]).await;
        writer.whole(&service, &snapshot);
        writer.queues_together(&snapshot, queues::COARSE);
        writer.queues_together(&snapshot, queues::FINE);
        writer.queues_together(&snapshot, queues::DELIVERY);
        writer.queues_together(&snapshot, queues::PUBLISHED);
        for (family, value) in channels::STATE {
            writer.page.one(*family, "", snapshot.channels().map(value).sum::<u64>());
        }
        // Channels that are closed count too, so that no counter goes down.
        let all = snapshot.all_channels();
        for (family, value) in channels::PUBLISHED.iter().chain(channels::DELIVERED) {
            writer.page.one(*family, "", value(&all));
        }
        for (family, value) in connections::COARSE.iter().chain(connections::FINE) {
            writer.page.one(*family, "", snapshot.connections.iter().map(value).sum::<u64>());
        }
        node::write_totals(&mut writer.page, &snapshot);
        global::write(&mut writer.page, &snapshot);
        writer.finish().await;
    });
    response
}

async fn per_object(State(service): State<Service>, headers: HeaderMap) -> Response {
    let (mut writer, response) = begin(&headers, "rabbitmq_");
    tokio::spawn(async move {
        let snapshot = Snapshot::take(&service.broker, &[]).await;
        writer.whole(&service, &snapshot);
        writer.queues(&snapshot, queues::COARSE).await;
        writer.queues(&snapshot, queues::FINE).await;
        writer.queues(&snapshot, queues::DELIVERY).await;
        writer.queues(&snapshot, queues::PUBLISHED).await;
        writer.channels(&snapshot, channels::STATE, channels::PUBLISHED, channels::DELIVERED).await;
        writer.connections(&snapshot, connections::COARSE).await;
        writer.connections(&snapshot, connections::FINE).await;
        node::write_totals(&mut writer.page, &snapshot);
        global::write(&mut writer.page, &snapshot);
        writer.finish().await;
    });
    response
}

async fn detailed(State(service): State<Service>, query: Query, headers: HeaderMap) -> Response {
    let all = |name| query.all(name).map(str::to_owned).collect::<Vec<_>>();
    let (families, vhosts) = (all("family"), all("vhost"));
    let (mut writer, response) = begin(&headers, "rabbitmq_detailed_");
    tokio::spawn(async move {
        let has = |name: &str| families.iter().any(|family| family == name);
        let snapshot = match families.is_empty() {
            true => Snapshot::default(),
            false => Snapshot::take(&service.broker, &vhosts).await,
        };
        // RabbitMQ, too, has these under their usual names.
        writer.page.prefixed("rabbitmq_", |page| node::write_identity(page, &service));
        let churns = [
            ("connection_churn_metrics", "connection"),
            ("channel_churn_metrics", "channel"),
            ("queue_churn_metrics", "queue"),
        ];
        // RabbitMQ has all of them in one family.
        let which = match has("connection_churn_metrics") {
            true => vec!["connection", "channel", "queue"],
            false => churns.iter().filter(|(family, _)| has(family)).map(|(_, which)| *which).collect(),
        };
        node::write_churn(&mut writer.page, &snapshot, &which);
        if has("node_coarse_metrics") || has("node_metrics") {
            node::write_process(&mut writer.page, &service);
        }
        if has("alarms") {
            node::write_alarms(&mut writer.page, &snapshot);
        }
        if has("queue_coarse_metrics") {
            writer.queues(&snapshot, queues::COARSE).await;
        }
        if has("queue_metrics") {
            writer.queues(&snapshot, queues::FINE).await;
        } else if has("queue_consumer_count") {
            writer.queues(&snapshot, queues::CONSUMERS).await;
        }
        if has("queue_delivery_metrics") {
            writer.queues(&snapshot, queues::DELIVERY).await;
        }
        if has("channel_queue_exchange_metrics") || has("queue_exchange_metrics") {
            writer.queues(&snapshot, queues::PUBLISHED).await;
        }
        let states = if has("channel_metrics") { channels::STATE } else { &[] };
        let published = if has("channel_exchange_metrics") { channels::PUBLISHED } else { &[] };
        let delivered = if has("channel_queue_metrics") { channels::DELIVERED } else { &[] };
        writer.channels(&snapshot, states, published, delivered).await;
        if has("connection_coarse_metrics") {
            writer.connections(&snapshot, connections::COARSE).await;
        }
        if has("connection_metrics") {
            writer.connections(&snapshot, connections::FINE).await;
        }
        if has("global_metrics") {
            global::write(&mut writer.page, &snapshot);
        }
        writer.finish().await;
    });
    response
}

/// The answer with a page that is sent while it is made, and the writer of that page.
fn begin(headers: &HeaderMap, prefix: &'static str) -> (PageWriter, Response) {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let format = Format::accepted(accept);
    let (sender, parts) = mpsc::channel(WAITING);
    let writer = PageWriter { page: Page::new(format, prefix), sender };
    let content_type = [(header::CONTENT_TYPE, format.content_type())];
    (writer, (content_type, Body::from_stream(Parts(parts))).into_response())
}

/// The parts of a page, as they are made.
struct Parts(mpsc::Receiver<String>);

impl Stream for Parts {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(cx).map(|part| part.map(|part| Ok(Bytes::from(part))))
    }
}

/// Writes a page part by part; what is written after its reader has gone is discarded.
struct PageWriter {
    page: Page,
    sender: mpsc::Sender<String>,
}

impl PageWriter {
    /// The metrics of the process and of the broker as a whole.
    fn whole(&mut self, service: &Service, snapshot: &Snapshot) {
        node::write_identity(&mut self.page, service);
        node::write_alarms(&mut self.page, snapshot);
        node::write_process(&mut self.page, service);
        node::write_churn(&mut self.page, snapshot, &["connection", "channel", "queue"]);
    }

    fn queues_together(&mut self, snapshot: &Snapshot, metrics: &'static [QueueMetric]) {
        for (family, value) in metrics {
            self.page.one(*family, "", snapshot.queues().map(value).sum::<u64>());
        }
    }

    async fn queues(&mut self, snapshot: &Snapshot, metrics: &'static [QueueMetric]) {
        for (family, value) in metrics {
            self.page.begin(*family);
            for (queue, labels) in snapshot.labelled_queues() {
                self.page.sample(*family, labels, value(queue));
                self.send_if_long().await;
            }
        }
    }

    async fn channels(
        &mut self,
        snapshot: &Snapshot,
        states: &'static [ChannelMetric],
        published: &'static [CountedMetric],
        delivered: &'static [CountedMetric],
    ) {
        let labelled: Vec<(&ChannelState, String)> = snapshot.labelled_channels();
        for (family, value) in states {
            self.page.begin(*family);
            for (channel, labels) in &labelled {
                self.page.sample(*family, labels, value(channel));
                self.send_if_long().await;
            }
        }
        for (family, value) in published.iter().chain(delivered) {
            self.page.begin(*family);
            for (channel, labels) in &labelled {
                self.page.sample(*family, labels, value(&channel.counters));
                self.send_if_long().await;
            }
        }
    }

    async fn connections(&mut self, snapshot: &Snapshot, metrics: &'static [ConnectionMetric]) {
        for (family, value) in metrics {
            self.page.begin(*family);
            for connection in &snapshot.connections {
                // RabbitMQ, too, names the label so.
                let labels = labels(&[("channel", &connection.client.name)]);
                self.page.sample(*family, &labels, value(connection));
                self.send_if_long().await;
            }
        }
    }

    /// Sends what is written, if that is a part, and lets other tasks go first.
    async fn send_if_long(&mut self) {
        if self.page.len() >= PART {
            let _ = self.sender.send(self.page.take()).await;
            yield_now().await;
        }
    }

    async fn finish(mut self) {
        self.page.end();
        let _ = self.sender.send(self.page.take()).await;
    }
}
