//! A private cluster of RabbitMQ nodes on one machine, which is removed afterwards.

use std::io;

use tempfile::TempDir;

use crate::{
    node::Control,
    process::Process,
    rabbitmq::{RabbitMq, free_ports, furnish_with, start_epmd},
};

/// The nodes of a cluster. Each can be killed and restarted separately.
///
/// # On drop
/// As [`RabbitMq`]'s, for each.
#[derive(Debug)]
pub struct Cluster {
    /// The nodes in the order of their names: `r1@localhost` is the first.
    pub nodes: Vec<RabbitMq>,
    // It is dropped after the nodes, which are registered with it.
    _epmd: Process,
    _home: TempDir,
}

impl Cluster {
    /// Starts three nodes that form a cluster. All of them answer when this returns.
    ///
    /// # Errors
    /// When one cannot be started, or does not answer within 300 s, or they do not form a cluster.
    ///
    /// # Cancel safety
    /// The nodes are killed when the future is dropped.
    pub async fn start() -> io::Result<Self> {
        Self::start_with("pause_minority").await
    }

    /// As [`start`](Self::start), with this `cluster_partition_handling`, which says what nodes do
    /// that see no majority.
    ///
    /// # Errors
    /// As `start`.
    ///
    /// # Cancel safety
    /// The nodes are killed when the future is dropped.
    pub async fn start_with(partition_handling: &str) -> io::Result<Self> {
        Self::start_configured(&format!("cluster_partition_handling = {partition_handling}\n")).await
    }

    /// As [`start`](Self::start), with these lines of rabbitmq.conf instead.
    ///
    /// # Errors
    /// As `start`.
    ///
    /// # Cancel safety
    /// The nodes are killed when the future is dropped.
    pub async fn start_configured(configuration: &str) -> io::Result<Self> {
        let home = tempfile::Builder::new().prefix("amqp-cluster-").tempdir()?;
        let [epmd_port, p1, d1, p2, d2, p3, d3] = free_ports()?;
        let of =
            |name: &str, home: &TempDir| Control::new(home.path(), epmd_port, &format!("{name}@localhost"));
        let cookie = format!("{:032X}", fastrand::u128(..));
        let configuration = format!(
            "cluster_formation.peer_discovery_backend = classic_config\n\
             cluster_formation.classic_config.nodes.1 = r1@localhost\n\
             cluster_formation.classic_config.nodes.2 = r2@localhost\n\
             cluster_formation.classic_config.nodes.3 = r3@localhost\n\
             {configuration}"
        );
        let epmd = start_epmd(&of("epmd", &home)).await?;
        let node = |name: &'static str, port, dist_port| {
            let (cookie, of, configuration) = (&cookie, &of, &configuration);
            async move {
                let folder = tempfile::Builder::new().prefix("amqp-rabbitmq-").tempdir()?;
                furnish_with(folder.path(), cookie, configuration, &[])?;
                let control = of(name, &folder);
                RabbitMq::start_beside(None, folder, &control, port, dist_port).await
            }
        };
        let (r1, r2, r3) = tokio::try_join!(node("r1", p1, d1), node("r2", p2, d2), node("r3", p3, d3))?;
        let cluster = Self { nodes: vec![r1, r2, r3], _epmd: epmd, _home: home };
        if let Some(first) = cluster.nodes.first() {
            first.ctl(&["await_online_nodes", "3", "--timeout", "60"]).await?;
        }
        Ok(cluster)
    }

    /// A URI of the virtual host `/` with all nodes, in the order of their numbers but beginning
    /// with `first`.
    #[must_use]
    pub fn uri(&self, first: usize) -> String {
        let count = self.nodes.len();
        let hosts: Vec<_> =
            self.nodes.iter().cycle().skip(first % count).take(count).map(|node| node.authority()).collect();
        format!("amqp://guest:guest@{}/%2F", hosts.join(","))
    }

    /// The node that leads a quorum queue of the virtual host `/`, according to `observer`.
    ///
    /// # Errors
    /// When it cannot be asked, or does not know the queue or its leader.
    pub async fn leader(&self, observer: usize, queue: &str) -> io::Result<usize> {
        let unknown = || io::Error::other(format!("nobody knows who leads {queue}"));
        let observer = self.nodes.get(observer).ok_or_else(unknown)?;
        let told = observer.ctl(&["list_queues", "name", "leader"]).await?;
        let line = told
            .lines()
            .find_map(|line| line.strip_prefix(queue)?.trim().strip_prefix('r').map(str::to_owned));
        let number = line.and_then(|line| line.split('@').next()?.parse::<usize>().ok());
        number.and_then(|number| number.checked_sub(1)).ok_or_else(unknown)
    }
}
