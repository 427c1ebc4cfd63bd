//! One run of a scenario, from the broker's beginning to the check of everything.

use std::time::Duration;

use amqp_broker::{Broker, SimulatedDisk};
use amqp_client::{Binding, Channel, ConnectOptions, DeleteOptions, Error, Exchange, GetOptions, Queue, Uri};
use tokio::time::{sleep, timeout};

use super::{
    client::Client,
    disturb::disturb,
    lives::Lives,
    network::Network,
    scenario::{FANOUT, Kind, QUEUES, SHARED_QUEUES, Scenario, TOPIC, TOPIC_BINDINGS},
    service::ServiceClient,
    transcript::Log,
    world::{HEARTBEAT, World},
};

/// The result of a run.
#[derive(Clone, Debug)]
pub(super) struct Verdict {
    /// The hash of all that happened.
    pub(super) hash: u64,
    /// The lines of the transcript, if they were asked for.
    pub(super) transcript: Vec<String>,
    /// All that is wrong.
    pub(super) violations: Vec<String>,
}

/// Runs a scenario.
pub(super) fn run(scenario: Scenario, keeps_lines: bool) -> Verdict {
    fastrand::seed(scenario.seed);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let Ok(runtime) = runtime else {
        let violations = vec!["there is no runtime".to_owned()];
        return Verdict { hash: 0, transcript: Vec::new(), violations };
    };
    runtime.block_on(async {
        let log = Log::new(keeps_lines);
        if let Err(error) = play(scenario, &log).await {
            log.violation(format!("the checks themselves fail: {}", amqp_client::Report(&error)));
        }
        let (hash, transcript, violations) = log.take();
        Verdict { hash, transcript, violations }
    })
}

/// The disk of a scenario. Some are slow, so that a broker dies often while it syncs.
fn disk(seed: u64) -> SimulatedDisk {
    let disk = SimulatedDisk::new(seed);
    if seed % 8 == 7 {
        disk.set_slowest_sync(Duration::from_millis(500));
    }
    disk
}

async fn play(scenario: Scenario, log: &Log) -> Result<(), Error> {
    let network = Network::new(scenario.seed, scenario.clients.len(), log.clone());
    let disk = scenario.is_durable.then(|| disk(scenario.seed));
    let lives = Lives::begin(disk, HEARTBEAT, network.clone(), log.clone());
    let at_first = lives.broker().memory_in_use("/");
    set_up(&lives.broker()).await?;
    let world = World::new(&scenario, lives, network, log.clone());
    let clients = scenario.clients.into_iter().enumerate().map(|(number, plan)| {
        let world = world.clone();
        match plan.kind {
            Kind::Bare { recovers } => tokio::spawn(Client::new(world, number, recovers).run(plan)),
            Kind::Messaging => tokio::spawn(ServiceClient::new(world, number).run(plan)),
        }
    });
    let clients: Vec<_> = clients.collect();
    let disturbing = tokio::spawn(disturb(world.clone(), scenario.disturbances));
    let _ = disturbing.await;
    let broker = world.lives.broker();
    broker.faults().clear();
    world.network.heal();
    for client in clients {
        if let Some(Err(error)) = world.ends("a client", client).await {
            log.violation(format!("a client panics: {error}"));
        }
    }
    // Connections that stall end with their heartbeats.
    for _ in 0..100 {
        if broker.connections().is_empty() {
            break;
        }
        sleep(HEARTBEAT).await;
    }
    for connection in broker.connections() {
        log.violation(format!("{connection:?} does not end"));
    }
    drain(&world).await?;
    world.account.check(world.lives.deaths());
    world.topology.check(&broker, log);
    clear(&broker).await?;
    // A connection that has said goodbye is not listed, and holds its buffers until its last
    // answer, which a disturbance has delayed, is written.
    let is_back = async {
        while broker.memory_in_use("/") != at_first {
            sleep(Duration::from_millis(1)).await;
        }
    };
    let _ = timeout(HEARTBEAT, is_back).await;
    let at_last = broker.memory_in_use("/");
    if at_last != at_first {
        log.violation(format!("the broker held {at_first:?} octets at first and holds {at_last:?} at last"));
    }
    Ok(())
}

/// A channel that nothing disturbs, for work on the broker before and after the clients.
async fn with_channel<F: Future<Output = Result<(), Error>>>(
    broker: &Broker,
    work: impl FnOnce(Channel) -> F,
) -> Result<(), Error> {
    let options = ConnectOptions::new().heartbeat(Duration::ZERO);
    let connection = options.connect_stream(broker.connect(), &Uri::default()).await?;
    work(connection.open_channel().await?).await?;
    connection.close().await?;
    // The broker's side ends a little later.
    let gone = async {
        while !broker.connections().is_empty() {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(HEARTBEAT, gone).await.map_err(|_| Error::Recovering)
}

async fn set_up(broker: &Broker) -> Result<(), Error> {
    with_channel(broker, |channel| async move {
        for queue in SHARED_QUEUES {
            channel.declare(&Queue::durable(queue)).await?;
        }
        channel.declare(&Exchange::fanout(FANOUT).durable(true)).await?;
        channel.declare(&Exchange::topic(TOPIC).durable(true)).await?;
        for queue in QUEUES {
            channel.bind(Binding::new(&Queue::new(queue), FANOUT)).await?;
        }
        for (pattern, queue) in TOPIC_BINDINGS {
            channel.bind(Binding::new(&Queue::new(queue), TOPIC).routing_key(pattern)).await?;
        }
        Ok(())
    })
    .await
}

/// Takes what is left in the queues.
async fn drain(world: &World) -> Result<(), Error> {
    with_channel(&world.lives.broker(), |channel| async move {
        let receiver = world.serial();
        for queue in SHARED_QUEUES {
            while let Some(delivery) = channel.get(queue, GetOptions::new()).await? {
                // Messaging writes JSON.
                let body = &delivery.body()[..];
                let body = body.strip_prefix(b"\"").and_then(|body| body.strip_suffix(b"\"")).unwrap_or(body);
                let receipt = world.account.deliver(receiver, queue, body, delivery.redelivered());
                if let Some(receipt) = receipt {
                    world.account.found(&receipt);
                }
                delivery.ack().await?;
            }
        }
        Ok(())
    })
    .await?;
    for queue in
        world.lives.broker().queues("/").iter().filter(|queue| SHARED_QUEUES.contains(&queue.name.as_str()))
    {
        if (queue.ready, queue.unacked, queue.consumers) != (0, 0, 0) {
            world.log.violation(format!("a queue is not empty at the end: {queue:?}"));
        }
    }
    Ok(())
}

/// Deletes everything.
async fn clear(broker: &Broker) -> Result<(), Error> {
    with_channel(broker, |channel| async move {
        for queue in broker.queues("/") {
            channel.delete_queue(&queue.name, DeleteOptions::new()).await?;
        }
        for exchange in broker.exchanges("/").iter().filter(|exchange| !exchange.name.starts_with("amq.")) {
            channel.delete_exchange(&exchange.name, DeleteOptions::new()).await?;
        }
        Ok(())
    })
    .await
}
