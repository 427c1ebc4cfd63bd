//! Metrics of the process, and of what came and went.

use super::{
    snapshot::Snapshot,
    text::{Family, Kind, Page, counter, gauge, labels},
};
use crate::management::{
    observed::process::ProcessState,
    service::{CLUSTER, NODE, Service},
};

const BUILD: Family =
    Family { name: "build_info", kind: Kind::Untyped, help: "RabbitMQ & Erlang/OTP version info" };
const IDENTITY: Family =
    Family { name: "identity_info", kind: Kind::Untyped, help: "RabbitMQ node & cluster identity info" };
const MEMORY_ALARM: Family = Family {
    name: "alarms_memory_used_watermark",
    kind: Kind::Untyped,
    help: "is 1 if VM memory watermark alarm is in effect",
};
const DISK_ALARM: Family = Family {
    name: "alarms_free_disk_space_watermark",
    kind: Kind::Untyped,
    help: "is 1 if free disk space watermark alarm is in effect",
};

/// Writes what the broker is.
pub(super) fn write_identity(page: &mut Page, service: &Service) {
    let config = &service.broker.inner.config;
    let build = [("rabbitmq_version", config.product_version()), ("version", env!("CARGO_PKG_VERSION"))];
    page.one(BUILD, &labels(&build), 1);
    page.one(IDENTITY, &labels(&[("rabbitmq_node", NODE), ("rabbitmq_cluster", CLUSTER)]), 1);
}

/// Writes whether publishers are held back.
pub(super) fn write_alarms(page: &mut Page, snapshot: &Snapshot) {
    let is_any = |is: fn(&super::snapshot::VhostState) -> bool| u8::from(snapshot.vhosts.iter().any(is));
    page.one(MEMORY_ALARM, "", is_any(|vhost| vhost.is_low_on_memory));
    page.one(DISK_ALARM, "", is_any(|vhost| vhost.is_low_on_disk));
}

/// Writes what the process uses.
pub(super) fn write_process(page: &mut Page, service: &Service) {
    let process = ProcessState::now();
    page.one(gauge("process_open_fds", "Open file descriptors"), "", process.open_files);
    let sockets = service.broker.inner.clients.all().len();
    page.one(gauge("process_open_tcp_sockets", "Open TCP sockets"), "", sockets);
    if let Some(most) = process.most_files {
        page.one(gauge("process_max_tcp_sockets", "Open TCP sockets limit"), "", most);
        page.one(gauge("process_max_fds", "Open file descriptors limit"), "", most);
    }
    if let Some(bytes) = process.memory {
        page.one(gauge("process_resident_memory_bytes", "Memory used in bytes"), "", bytes);
    }
    let config = &service.broker.inner.config;
    let limit = config.vhost_memory().saturating_mul(config.vhosts.count() as u64);
    page.one(gauge("resident_memory_limit_bytes", "Memory high watermark in bytes"), "", limit);
    let help = "Free disk space low watermark in bytes";
    page.one(gauge("disk_space_available_limit_bytes", help), "", config.disk_free_limit);
    let uptime = service.broker.inner.began.elapsed().as_secs_f64();
    page.one(gauge("erlang_uptime_seconds", "Node uptime"), "", uptime);
}

/// Writes what came and went.
pub(super) fn write_churn(page: &mut Page, snapshot: &Snapshot, which: &[&str]) {
    let churn = snapshot.churn();
    let all = [
        (
            "connection",
            "connections_opened_total",
            "Total number of connections opened",
            churn.connections_opened,
        ),
        (
            "connection",
            "connections_closed_total",
            "Total number of connections closed or terminated",
            churn.connections_closed,
        ),
        ("channel", "channels_opened_total", "Total number of channels opened", churn.channels_opened),
        ("channel", "channels_closed_total", "Total number of channels closed", churn.channels_closed),
        ("queue", "queues_declared_total", "Total number of queues declared", churn.queues_declared),
        ("queue", "queues_created_total", "Total number of queues created", churn.queues_created),
        ("queue", "queues_deleted_total", "Total number of queues deleted", churn.queues_deleted),
    ];
    for (of, name, help, value) in all {
        if which.contains(&of) {
            page.one(counter(name, help), "", value);
        }
    }
}

/// Writes how many entities there are.
pub(super) fn write_totals(page: &mut Page, snapshot: &Snapshot) {
    let consumers: usize = snapshot.vhosts.iter().map(|vhost| vhost.consumers).sum();
    let all = [
        ("connections", "Connections currently open", snapshot.connections.len()),
        ("channels", "Channels currently open", snapshot.channels().count()),
        ("consumers", "Consumers currently connected", consumers),
        ("queues", "Queues available", snapshot.queues().count()),
    ];
    for (name, help, value) in all {
        page.one(gauge(name, help), "", value);
    }
}
