//! A run, from the start of the cluster to its report.

use std::{io, sync::atomic::Ordering, time::Duration};

use amqp_client::{ConnectOptions, Queue};
use tokio::time::{Instant, sleep, timeout};

use super::{
    account::Sums,
    clients::{Clients, DIRECT, QUORUM, TASKS},
    faults::Faults,
    load::Load,
    partition,
    plan::{Kind, NODES, Plan, TICK_TIME},
    report::Report,
};
use crate::{cluster::Cluster, footprint::Footprint, namespace};

/// The time before the first fault, and that after the last one, in whose second half every client
/// gets something done.
const WARM_UP: Duration = Duration::from_secs(20);
const QUIET: Duration = Duration::from_secs(40);
/// The part of the time with faults after which all pools and tables have come to their sizes.
const WARM_PART: u32 = 6;
/// The time in which the nodes notice that connections were closed.
const CLOSED: Duration = Duration::from_secs(30);
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// The request for a run.
#[derive(Clone, Debug)]
pub struct Request {
    /// The seed of the faults.
    pub seed: u64,
    /// For how long faults come about.
    pub time: Duration,
    /// The kinds of faults of a round.
    pub round: Vec<Kind>,
}

/// Runs a cluster with clients and faults, and returns what happened.
///
/// # Errors
/// When the cluster does not start or a node does not work again, so that nothing is known.
pub async fn run(request: Request) -> io::Result<Report> {
    let Request { seed, time, round } = request;
    if namespace::is_own() {
        let groups: Vec<_> = (1..=NODES).map(|n| namespace::group_of(&format!("r{n}@localhost"))).collect();
        partition::prepare(&groups)?;
    }
    // A node without a majority stops: a client then goes to another node instead of waiting for
    // queues that have no leader, and what is declared cannot differ between two sides.
    let configuration = format!("cluster_partition_handling = pause_minority\nnet_ticktime = {TICK_TIME}\n");
    let cluster = Cluster::start_configured(&configuration).await?;
    let mut report = Report { seed, before: Footprint::now()?, ..Report::default() };
    let load = Load::new();
    let mut clients = Clients::start(&load, &cluster).await?;
    let mut faults = Faults::new(cluster, QUORUM.map(str::to_owned).to_vec());
    sleep(WARM_UP).await;
    let began = Instant::now();
    let mut plan = Plan::new(seed, &round, namespace::is_own());
    while began.elapsed() < time && report.wrong.is_empty() {
        sleep(plan.pause()).await;
        let fault = plan.fault(faults.queues());
        let recovered = match faults.strike(fault).await {
            Ok(recovered) => recovered,
            Err(error) => {
                tell_sums(&load);
                return Err(error);
            }
        };
        report.wrong.extend(clients.ended());
        if report.warm == Footprint::default() && began.elapsed() > time / WARM_PART {
            report.warm = Footprint::now()?;
        }
        tell(began, fault, recovered, &load)?;
    }
    report.lasted = began.elapsed();
    sleep(QUIET / 2).await;
    let quiet = Instant::now();
    sleep(QUIET / 2).await;
    let idle = load.continuity.idle_since(quiet);
    report.wrong.extend(idle.iter().map(|client| format!("{client} gets nothing done at the end")));
    report.longest = load.continuity.longest();
    report.end = Footprint::now()?;
    report.wrong.extend(clients.finish().await);
    report.wrong.extend(left(faults.cluster()).await?);
    report.after = Footprint::now()?;
    conclude(&mut report, &load, &faults);
    Ok(report)
}

/// Writes a line about a fault.
#[allow(clippy::print_stdout, reason = "the program's output is its result")]
fn tell(began: Instant, fault: super::plan::Fault, recovered: Duration, load: &Load) -> io::Result<()> {
    let [direct, tasks, notifications] = load.accounts().map(|account| account.sums(false).delivered);
    println!(
        "{:>5.0} s: {} {}/{} ({:.1} s), worked again after {:.1} s; handled {direct}, {tasks}, {notifications}; {}",
        began.elapsed().as_secs_f64(),
        fault.kind.name(),
        fault.node + 1,
        fault.other + 1,
        fault.lasts.as_secs_f64(),
        recovered.as_secs_f64(),
        Footprint::now()?,
    );
    Ok(())
}

/// Writes what was counted in a run that cannot go on.
#[allow(clippy::print_stdout, reason = "the program's output is its result")]
fn tell_sums(load: &Load) {
    println!("{:<16} | {}", "messages", Sums::HEADS);
    for account in load.accounts() {
        println!("{:<16} | {}", account.name(), account.sums(false));
    }
    for calls in load.all_calls() {
        println!("{}: {calls}", calls.name());
    }
}

/// Returns what is left at the nodes when all clients have ended: messages or connections.
async fn left(cluster: &Cluster) -> io::Result<Vec<String>> {
    let mut left = Vec::new();
    let asking = async {
        let connection = ConnectOptions::new().connect(&cluster.uri(0)).await?;
        let channel = connection.open_channel().await?;
        for queue in [DIRECT, TASKS] {
            let messages = channel.declare(&Queue::new(queue).passive(true)).await?.messages;
            if messages > 0 {
                left.push(format!("{messages} messages are left in {queue}"));
            }
        }
        connection.close().await
    };
    let asked = timeout(CLOSED, asking).await.map_err(|_| io::Error::other("the cluster does not answer"))?;
    asked.map_err(io::Error::other)?;
    let deadline = Instant::now() + CLOSED;
    loop {
        let connections = cluster.nodes[0].ctl(&["list_connections", "user", "client_properties"]).await?;
        match connections.trim() {
            "" => break,
            some if Instant::now() > deadline => {
                left.push(format!("connections are left: {some}"));
                break;
            }
            _ => sleep(POLL_INTERVAL).await,
        }
    }
    Ok(left)
}

fn conclude(report: &mut Report, load: &Load, faults: &Faults) {
    for account in load.accounts() {
        report.messages.push((account.name(), account.sums(true)));
        report.wrong.extend(account.check());
    }
    for calls in load.all_calls() {
        report.calls.push((calls.name(), calls.to_string()));
        report.wrong.extend(calls.check());
    }
    let (counts, stuck) = faults.counts();
    report.faults = counts.iter().map(|(kind, count)| (kind.name(), *count)).collect();
    report.stuck = stuck;
    report.reconnects = load.reconnects.load(Ordering::Relaxed);
    report.check_footprints();
}
