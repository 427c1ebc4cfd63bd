//! All clients of a run: how they start, and how they end.

use std::{io, time::Duration};

use amqp_client::{ConnectOptions, Queue, Report};
use messaging::{Transport, Worker, notify::RunningListener, rpc::RunningServer};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use super::{direct, load::Load, services};
use crate::cluster::Cluster;

/// The queue of amqp-client's messages, and that of messaging's.
pub(super) const DIRECT: &str = "direct";
pub(super) const TASKS: &str = "tasks";
const TOPIC: &str = "notifications";
/// The quorum queues, whose leaders are killed.
pub(super) const QUORUM: [&str; 4] = [DIRECT, TASKS, "sums", "notifications.info"];

const PUBLISHERS: usize = 3;
const CONSUMERS: usize = 3;
const PRODUCERS: usize = 2;
const WORKERS: usize = 2;
const SERVERS: usize = 2;
const CALLERS: usize = 2;

/// The pace at which each publishes or calls: together about 200 messages and calls a second.
const PUBLISH_EVERY: Duration = Duration::from_millis(33);
const PRODUCE_EVERY: Duration = Duration::from_millis(33);
const CALL_EVERY: Duration = Duration::from_millis(150);
const NOTIFY_EVERY: Duration = Duration::from_millis(50);

/// The time that what is under way may take to end, when all nodes work.
const END: Duration = Duration::from_secs(200);
const STOP: Duration = Duration::from_secs(60);
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// The clients of a run.
pub(super) struct Clients {
    load: Load,
    transports: Vec<Transport>,
    publishing: JoinSet<Result<(), String>>,
    consumers: JoinSet<Result<(), String>>,
    workers: Vec<Worker>,
    servers: Vec<RunningServer>,
    listeners: Vec<RunningListener>,
}

impl Clients {
    /// Starts all clients; each begins with another node.
    pub(super) async fn start(load: &Load, cluster: &Cluster) -> io::Result<Self> {
        declare(&cluster.uri(0)).await.map_err(io::Error::other)?;
        let mut clients = Clients {
            load: load.clone(),
            transports: Vec::new(),
            publishing: JoinSet::new(),
            consumers: JoinSet::new(),
            workers: Vec::new(),
            servers: Vec::new(),
            listeners: Vec::new(),
        };
        clients.start_direct(cluster);
        clients
            .start_services(cluster)
            .await
            .map_err(|error| io::Error::other(Report(&error).to_string()))?;
        Ok(clients)
    }

    fn start_direct(&mut self, cluster: &Cluster) {
        for number in 0..CONSUMERS {
            let consuming = direct::consume(self.load.clone(), cluster.uri(number), DIRECT, number);
            self.consumers.spawn(async move { consuming.await.map_err(|error| told("a consumer", &error)) });
        }
        for number in 0..PUBLISHERS {
            let (load, uri) = (self.load.clone(), cluster.uri(number));
            let publishing = direct::publish(load, uri, DIRECT, (number, PUBLISH_EVERY), number == 0);
            self.publishing
                .spawn(async move { publishing.await.map_err(|error| told("a publisher", &error)) });
        }
    }

    async fn start_services(&mut self, cluster: &Cluster) -> Result<(), messaging::Error> {
        for number in 0..WORKERS {
            let transport = self.transport(cluster, number, "worker", true)?;
            self.workers.push(services::work(&self.load, &transport, TASKS, number).await?);
        }
        let transport = self.transport(cluster, 2, "listener", true)?;
        self.listeners.push(services::listen(&self.load, &transport, TOPIC).await?);
        for is_quorum in [true, false] {
            for number in 0..SERVERS {
                let transport = self.transport(cluster, number + 1, "server", is_quorum)?;
                self.servers.push(services::serve(&self.load, &transport, is_quorum, number).await?);
            }
            for number in 0..CALLERS {
                let transport = self.transport(cluster, number, "caller", is_quorum)?;
                let calling = services::call(self.load.clone(), transport, is_quorum, (number, CALL_EVERY));
                self.spawn(calling);
            }
        }
        for number in 0..PRODUCERS {
            let transport = self.transport(cluster, number + 1, "producer", true)?;
            let producing = services::produce(self.load.clone(), transport, TASKS, (number, PRODUCE_EVERY));
            self.spawn(producing);
        }
        let transport = self.transport(cluster, 0, "notifier", true)?;
        self.spawn(services::notify(self.load.clone(), transport, TOPIC, NOTIFY_EVERY));
        Ok(())
    }

    fn transport(
        &mut self,
        cluster: &Cluster,
        first: usize,
        name: &str,
        is_quorum: bool,
    ) -> Result<Transport, messaging::Error> {
        let transport = services::transport(&cluster.uri(first), name, is_quorum)?;
        self.transports.push(transport.clone());
        Ok(transport)
    }

    fn spawn(&mut self, publishing: impl Future<Output = ()> + Send + 'static) {
        self.publishing.spawn(async move {
            publishing.await;
            Ok(())
        });
    }

    /// Returns what has ended and should not have.
    pub(super) fn ended(&mut self) -> Vec<String> {
        let ended = [&mut self.publishing, &mut self.consumers].map(JoinSet::try_join_next);
        ended.into_iter().flatten().map(|ended| format!("a client ended: {ended:?}")).collect()
    }

    /// Ends those that publish and call, waits until everything is handled, ends the others, and
    /// returns what is wrong.
    pub(super) async fn finish(mut self) -> Vec<String> {
        let mut wrong = Vec::new();
        self.load.end();
        join_all("publishing", &mut self.publishing, &mut wrong).await;
        let deadline = Instant::now() + END;
        while !self.load.accounts().iter().all(|account| account.is_complete()) && Instant::now() < deadline {
            sleep(POLL_INTERVAL).await;
        }
        join_all("consuming", &mut self.consumers, &mut wrong).await;
        for worker in self.workers {
            ends("stopping a worker", worker.stop(), &mut wrong).await;
        }
        for listener in self.listeners {
            ends("stopping the listener", listener.stop(), &mut wrong).await;
        }
        for server in self.servers {
            if let Some(Err(error)) = ends("stopping a server", server.stop(), &mut wrong).await {
                wrong.push(told("stopping a server", &error));
            }
        }
        for transport in self.transports {
            self.load.add_reconnects(transport.metrics().reconnects);
            if let Some(Err(error)) = ends("closing a transport", transport.close(), &mut wrong).await {
                wrong.push(told("closing a transport", &error));
            }
        }
        wrong
    }
}

/// Declares the queues of messages.
async fn declare(uri: &str) -> Result<(), amqp_client::Error> {
    let connection = ConnectOptions::new().connect(uri).await?;
    let channel = connection.open_channel().await?;
    for queue in [DIRECT, TASKS] {
        channel.declare(&Queue::quorum(queue)).await?;
    }
    connection.close().await
}

async fn join_all(what: &str, tasks: &mut JoinSet<Result<(), String>>, wrong: &mut Vec<String>) {
    let joining = async {
        let mut failed = Vec::new();
        while let Some(ended) = tasks.join_next().await {
            match ended {
                Ok(Ok(())) => {}
                Ok(Err(why)) => failed.push(why),
                Err(panic) => failed.push(panic.to_string()),
            }
        }
        failed
    };
    match timeout(END, joining).await {
        Ok(failed) => wrong.extend(failed),
        Err(_) => wrong.push(format!("{what} has not ended after {} s", END.as_secs())),
    }
}

async fn ends<T>(what: &str, ending: impl Future<Output = T>, wrong: &mut Vec<String>) -> Option<T> {
    let ended = timeout(STOP, ending).await.ok();
    if ended.is_none() {
        wrong.push(format!("{what} has not ended after {} s", STOP.as_secs()));
    }
    ended
}

fn told(what: &str, error: &dyn std::error::Error) -> String {
    format!("{what}: {}", Report(error))
}
