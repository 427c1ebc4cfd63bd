//! Faults of a cluster: how they come about, how they end, and that it works again afterwards.

use std::{collections::BTreeMap, io, time::Duration};

use amqp_client::{ConnectOptions, Queue};
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{Instant, sleep, timeout};

use super::{
    partition::{self, Cut, Place},
    plan::{Fault, Kind, NODES},
};
use crate::{cluster::Cluster, namespace};

/// For how long a node may take to come back by itself before it is killed and started again.
const PATIENCE: Duration = Duration::from_secs(75);
/// The most nodes that are started again after one fault.
const MOST_RESTARTS: usize = 8;
/// For how long a node may take to tell which others it sees.
const TOLD: Duration = Duration::from_secs(60);
/// For how long it may take to answer for all queues, on a machine that is busy.
const ANSWER: Duration = Duration::from_secs(20);
const POLL_INTERVAL: Duration = Duration::from_millis(500);
/// The number of nodes with which a node shares what is declared, and the partitions that it knows
/// of. After some partitions two nodes have declarations that differ, which only a restart of one
/// of them brings together again (RabbitMQ's page Clustering and Network Partitions).
const TOGETHER: &str = "{length(mnesia:system_info(running_db_nodes)), rabbit_node_monitor:partitions()}.";
const ARE_TOGETHER: &str = "{3,[]}";

/// A cluster, and what has been done to it.
#[derive(Debug)]
pub(super) struct Faults {
    cluster: Cluster,
    /// The quorum queues whose leaders are killed.
    queues: Vec<String>,
    counts: BTreeMap<Kind, usize>,
    /// The number of nodes that had to be started again because they did not come back.
    stuck: usize,
    is_own_network: bool,
}

impl Faults {
    /// Has faults come about in this cluster.
    pub(super) fn new(cluster: Cluster, queues: Vec<String>) -> Self {
        Faults { cluster, queues, counts: BTreeMap::new(), stuck: 0, is_own_network: namespace::is_own() }
    }

    pub(super) fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// The number of queues whose leaders are killed.
    pub(super) fn queues(&self) -> usize {
        self.queues.len()
    }

    /// The number of faults of each kind, and of nodes that had to be started again because they
    /// did not come back by themselves.
    pub(super) fn counts(&self) -> (&BTreeMap<Kind, usize>, usize) {
        (&self.counts, self.stuck)
    }

    /// Lets a fault come about, last and end, and waits until all nodes work. Returns how long
    /// that took.
    ///
    /// # Errors
    /// When a node does not work again, or a program that is needed fails.
    ///
    /// # Cancel safety
    /// If dropped while pending, the fault may last.
    pub(super) async fn strike(&mut self, fault: Fault) -> io::Result<Duration> {
        *self.counts.entry(fault.kind).or_default() += 1;
        let Fault { kind, node, other, lasts } = fault;
        match kind {
            Kind::LeaderKilled => {
                let leader = self.leader(node).await;
                self.kill(leader, lasts).await?;
            }
            Kind::NodeKilled => self.kill(node, lasts).await?,
            Kind::BriefStop | Kind::LongStop => self.stop(node, lasts).await?,
            Kind::CutOff | Kind::BrieflyCutOff => self.part(&apart(node, all_but(node)), lasts).await?,
            Kind::TwoParted => self.part(&apart(node, [other]), lasts).await?,
            Kind::AllParted => {
                let cuts: Vec<_> = (0..NODES).flat_map(|node| apart(node, all_but(node))).collect();
                self.part(&cuts, lasts).await?;
            }
            Kind::OneWay => self.part(&[Cut::From(node, other)], lasts).await?,
            Kind::SilentToClients => self.part(&[Cut::Clients(node)], lasts).await?,
        }
        let ended = Instant::now();
        self.recover().await?;
        Ok(ended.elapsed())
    }

    /// The leader of a queue, or any node if nobody knows.
    async fn leader(&self, queue: usize) -> usize {
        let Some(name) = self.queues.get(queue) else { return queue % NODES };
        self.cluster.leader(queue % NODES, name).await.unwrap_or(queue % NODES)
    }

    async fn kill(&mut self, node: usize, lasts: Duration) -> io::Result<()> {
        let node = &mut self.cluster.nodes[node];
        node.kill()?;
        sleep(lasts).await;
        node.restart().await
    }

    async fn stop(&self, node: usize, lasts: Duration) -> io::Result<()> {
        let pid = Pid::from_raw(self.cluster.nodes[node].pid().cast_signed());
        let pid = pid.ok_or_else(|| io::Error::other("the node has no process"))?;
        kill_process(pid, Signal::STOP)?;
        sleep(lasts).await;
        Ok(kill_process(pid, Signal::CONT)?)
    }

    async fn part(&self, cuts: &[Cut], lasts: Duration) -> io::Result<()> {
        let places: Vec<_> = (1..)
            .zip(&self.cluster.nodes)
            .map(|(number, node)| Place {
                group: namespace::group_of(&format!("r{number}@localhost")),
                nodes: node.dist_port(),
                clients: node.port(),
            })
            .collect();
        if !self.is_own_network {
            return Err(io::Error::other("the network is not the program's own"));
        }
        partition::cut(&places, cuts)?;
        sleep(lasts).await;
        partition::cut(&places, &[])
    }

    /// Waits until every node answers for every queue, and all see each other. A node that does not
    /// come back by itself is killed and started again, as by those who run it.
    async fn recover(&mut self) -> io::Result<()> {
        let mut restarts = 0;
        loop {
            let before = restarts;
            for node in 0..NODES {
                self.recover_node(node, &mut restarts).await?;
            }
            // One that was started again may have parted from those that were checked before.
            if restarts == before {
                return Ok(());
            }
        }
    }

    #[allow(clippy::print_stdout, reason = "the program's output is its result")]
    async fn recover_node(&mut self, node: usize, restarts: &mut usize) -> io::Result<()> {
        let mut since = Instant::now();
        while let Err(why) = self.check(node).await {
            if since.elapsed() > PATIENCE {
                if *restarts == MOST_RESTARTS {
                    return Err(io::Error::other(format!("node {} does not work again: {why}", node + 1)));
                }
                println!("  node {} is started again: {why}", node + 1);
                *restarts += 1;
                self.stuck += 1;
                self.cluster.nodes[node].kill()?;
                self.cluster.nodes[node].restart().await?;
                since = Instant::now();
            }
            sleep(POLL_INTERVAL).await;
        }
        Ok(())
    }

    /// Checks that a node answers for all queues and takes all others for running.
    async fn check(&self, number: usize) -> io::Result<()> {
        let node = &self.cluster.nodes[number];
        let asking = async {
            let connection = ConnectOptions::new().connect(node.uri()).await?;
            let channel = connection.open_channel().await?;
            for queue in &self.queues {
                channel.declare(&Queue::new(queue).passive(true)).await?;
            }
            connection.close().await
        };
        let asked = timeout(ANSWER, asking).await.map_err(|_| io::Error::other("it does not answer"))?;
        asked.map_err(|error| io::Error::other(amqp_client::Report(&error).to_string()))?;
        let telling = timeout(TOLD, node.ctl(&["eval", TOGETHER])).await;
        let together = telling.map_err(|_| io::Error::other("it does not tell which others it sees"))??;
        if together.trim() != ARE_TOGETHER {
            return Err(io::Error::other(format!(
                "it sees other nodes, and partitions: {}",
                together.trim()
            )));
        }
        Ok(())
    }
}

fn all_but(node: usize) -> impl Iterator<Item = usize> {
    (0..NODES).filter(move |other| *other != node)
}

/// Cuts a node off from others, both ways.
fn apart(node: usize, others: impl IntoIterator<Item = usize>) -> Vec<Cut> {
    others.into_iter().flat_map(|other| [Cut::From(node, other), Cut::From(other, node)]).collect()
}
