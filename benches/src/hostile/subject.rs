//! The broker that is measured, a new process for each measurement.

use std::{io, path::PathBuf};

use tests::{EmbeddedBroker, RabbitMq};

/// A broker that can be started.
pub enum Subject {
    /// The program amqp-broker.
    Embedded(PathBuf),
    /// Debian's RabbitMQ.
    RabbitMq,
}

/// A running broker. It is killed when dropped.
pub enum Running {
    /// The program amqp-broker.
    Embedded(EmbeddedBroker),
    /// A private node.
    RabbitMq(Box<RabbitMq>),
}

impl Subject {
    /// Starts it with these virtual hosts and `/`. The program has `/` only if no others are given.
    pub async fn start(&self, vhosts: &[&str]) -> io::Result<Running> {
        match self {
            Subject::Embedded(program) => {
                let arguments: Vec<_> = vhosts.iter().flat_map(|vhost| ["--vhost", vhost]).collect();
                EmbeddedBroker::start_in_memory(program.clone(), &arguments).await.map(Running::Embedded)
            }
            Subject::RabbitMq => {
                let node = RabbitMq::start().await?;
                for vhost in vhosts {
                    node.ctl(&["add_vhost", vhost]).await?;
                    node.ctl(&["set_permissions", "-p", vhost, "guest", ".*", ".*", ".*"]).await?;
                }
                Ok(Running::RabbitMq(Box::new(node)))
            }
        }
    }

    /// Starts it with a memory limit and, if `durable`, a folder for its data.
    pub async fn start_limited(&self, limit: u64, durable: bool) -> io::Result<Running> {
        match self {
            Subject::Embedded(program) => {
                let limit = limit.to_string();
                let arguments = ["--memory-limit", limit.as_str()];
                let broker = match durable {
                    true => EmbeddedBroker::start_with(program.clone(), &arguments).await,
                    false => EmbeddedBroker::start_in_memory(program.clone(), &arguments).await,
                };
                broker.map(Running::Embedded)
            }
            Subject::RabbitMq => {
                let configuration = format!("vm_memory_high_watermark.absolute = {limit}\n");
                let node = RabbitMq::start_with(&configuration, &[]).await?;
                Ok(Running::RabbitMq(Box::new(node)))
            }
        }
    }
}

impl Running {
    /// `host:port`.
    pub fn address(&self) -> String {
        match self {
            Running::Embedded(broker) => format!("127.0.0.1:{}", broker.port()),
            Running::RabbitMq(node) => node.authority(),
        }
    }

    /// The id of its process.
    pub fn pid(&self) -> u32 {
        match self {
            Running::Embedded(broker) => broker.pid(),
            Running::RabbitMq(node) => node.pid(),
        }
    }
}
