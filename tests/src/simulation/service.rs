//! A client of a run that uses messaging: producers, workers, RPC.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use amqp_client::{Exchange, Queue, Recovery, Report};
use fastrand::Rng;
use messaging::{
    Error, Incoming, OnFailure, Target, Transport, TransportOptions, Worker,
    rpc::{Endpoint, RunningServer},
};
use serde::{Deserialize, Serialize};
use tokio::time::sleep;

use super::{
    account::{Outcome, body_of},
    disturb::FAILED_TEXT,
    scenario::{self, Batch, ClientPlan, NumberedStep, Service, Step, WORK_QUEUE, client_name},
    world::{HEARTBEAT, World},
};

/// The topic of all servers.
const TOPIC: &str = "rpc";
/// More often than a message can be published again: what is not confirmed is repeated by messaging
/// as well as by the client's recovery.
const REPEATS: u64 = 1 << 20;

/// The arguments of a call.
#[derive(Deserialize, Serialize)]
struct Sum {
    a: u64,
    b: u64,
}

/// A client of messaging.
pub(super) struct ServiceClient {
    world: World,
    number: usize,
    transport: Option<Transport>,
    workers: Vec<Worker>,
    servers: Vec<RunningServer>,
    /// The number of calls that have reached any server of this client.
    reached: Arc<AtomicU64>,
}

impl ServiceClient {
    pub(super) fn new(world: World, number: usize) -> Self {
        let (workers, servers) = (Vec::new(), Vec::new());
        ServiceClient { world, number, transport: None, workers, servers, reached: Arc::default() }
    }

    /// Does all steps, and ends.
    pub(super) async fn run(mut self, plan: ClientPlan) {
        for NumberedStep { number, step } in plan.steps {
            self.world.log.add(format_args!("client {} step {number}: {step:?}", self.number));
            match step {
                Step::Service(service) => self.step(service).await,
                Step::Pause { milliseconds } => sleep(Duration::from_millis(milliseconds)).await,
                _ => {}
            }
        }
        self.close().await;
        let reached = self.reached.load(Ordering::Relaxed);
        self.world.log.add(format_args!("client {} ended; {reached} calls reached it", self.number));
    }

    async fn step(&mut self, service: Service) {
        match service {
            Service::Ensure { count } => {
                for _ in 0..count {
                    self.ensure().await;
                }
            }
            Service::Work { concurrency, fails, requeues, thinks } => {
                self.work(concurrency, fails, requeues, thinks).await;
            }
            Service::StopWorker => {
                if let Some(worker) = self.workers.pop() {
                    self.world.ends("stopping a worker", worker.stop()).await;
                }
            }
            Service::Serve => self.serve().await,
            Service::StopServer => {
                if let Some(server) = self.servers.pop() {
                    let stopped = self.world.ends("stopping a server", server.stop()).await;
                    self.note("stopping a server", stopped);
                }
            }
            Service::Call { count } => {
                for _ in 0..count {
                    self.call().await;
                }
            }
            Service::Close => self.close().await,
        }
    }

    fn transport(&mut self) -> Option<Transport> {
        if self.transport.is_none() {
            let (network, client) = (self.world.network.clone(), self.number);
            let options = TransportOptions::new()
                .name(client_name(client))
                .heartbeat(self.world.heartbeat())
                .connect_timeout(6 * HEARTBEAT)
                .recovery(Recovery::new().first_connect(true))
                .streams(move || network.connect_or_end(client));
            match options.lazy("amqp://guest:guest@simulation/") {
                Ok(transport) => self.transport = Some(transport),
                Err(error) => self.world.log.violation(format!("no transport: {error}")),
            }
        }
        self.transport.clone()
    }

    /// Publishes a message until it is confirmed, or until messaging gives up.
    async fn ensure(&mut self) {
        let Some(transport) = self.transport() else { return };
        let batch = Batch {
            target: scenario::Target::Work,
            count: 1,
            size: 0,
            persistent: true,
            mandatory: true,
            republish: true,
        };
        let number = self.world.account.publish(&batch, 0);
        let body = String::from_utf8_lossy(&body_of(number, 0)).into_owned();
        let producer = transport.producer(Exchange::default()).mandatory(true);
        let published = self.world.ends("ensuring", producer.ensure_publish(WORK_QUEUE, &body)).await;
        let is_confirmed = matches!(published, Some(Ok(_)));
        self.note("ensuring", published);
        let outcome = if is_confirmed { Outcome::Confirmed } else { Outcome::Lost };
        self.world.account.outcome(number, outcome, REPEATS);
    }

    async fn work(&mut self, concurrency: u16, fails: u8, requeues: bool, thinks: u64) {
        let Some(transport) = self.transport() else { return };
        let (world, receiver) = (self.world.clone(), self.world.serial());
        let rng = Arc::new(std::sync::Mutex::new(Rng::with_seed(world.seed ^ (receiver << 24))));
        let handler = move |message: Incoming<String>| {
            let (world, rng) = (world.clone(), Arc::clone(&rng));
            let draw = move |most: u64| rng.lock().map_or(0, |mut rng| rng.u64(..most));
            async move {
                let body = message.body().as_bytes();
                let receipt = world.account.deliver(receiver, WORK_QUEUE, body, message.redelivered());
                sleep(Duration::from_millis(draw(thinks + 1))).await;
                let is_failed = draw(100) < u64::from(fails);
                // A message that is acknowledged or rejected does not come again.
                if !(is_failed && requeues)
                    && let Some(receipt) = &receipt
                {
                    world.account.asked(receipt);
                }
                if is_failed { Err("as planned") } else { Ok(()) }
            }
        };
        let policy = if requeues { OnFailure::Requeue } else { OnFailure::Reject };
        let worker = transport.worker(Queue::durable(WORK_QUEUE)).concurrency(concurrency).on_failure(policy);
        let started = self.world.ends("starting a worker", worker.start(handler)).await;
        self.workers.extend(self.note("starting a worker", started));
    }

    async fn serve(&mut self) {
        let Some(transport) = self.transport() else { return };
        let reached = Arc::clone(&self.reached);
        let endpoint = Endpoint::new().method("add", move |_, Sum { a, b }: Sum| {
            reached.fetch_add(1, Ordering::Relaxed);
            async move { Ok(a + b) }
        });
        let name = format!("server {}", self.world.serial());
        let server = transport.rpc_server(Target::topic(TOPIC).server(name)).endpoint(endpoint);
        let started = self.world.ends("starting a server", server.start()).await;
        self.servers.extend(self.note("starting a server", started));
    }

    /// Calls a server. There may be none, so a call may find none or time out.
    async fn call(&mut self) {
        let Some(transport) = self.transport() else { return };
        let client = transport.rpc_client(Target::topic(TOPIC)).timeout(HEARTBEAT);
        let (a, b) = (self.world.serial(), self.world.serial());
        let calling = client.call("add", &Sum { a, b }).into_future();
        let called: Option<Result<u64, _>> = self.world.ends("a call", calling).await;
        match called {
            Some(Ok(sum)) if sum != a + b => {
                self.world.log.violation(format!("a call returns {sum} for {a} and {b}"));
            }
            Some(Ok(sum)) => self.world.log.add(format_args!("called: {sum}")),
            // A disturbance may refuse the reply, which the server then tells.
            Some(Err(error)) if Report(&error).to_string().contains(FAILED_TEXT) => {
                self.world.log.add(format_args!("a call: {}", Report(&error)));
            }
            // A request that cannot be made, or that a server does not understand, tests nothing.
            Some(Err(error @ (Error::Oslo(_) | Error::Encode { .. } | Error::Decode { .. }))) => {
                self.world.log.violation(format!("a call: {}", Report(&error)));
            }
            Some(Err(error)) => self.world.log.add(format_args!("a call: {}", Report(&error))),
            None => {}
        }
    }

    async fn close(&mut self) {
        let Some(transport) = self.transport.take() else { return };
        let closed = self.world.ends("closing a transport", transport.close()).await;
        self.note("closing a transport", closed);
        for mut worker in self.workers.drain(..) {
            let ended = self.world.ends("a worker of a closed transport", worker.wait()).await;
            self.world.log.add(format_args!("a worker ended: {}", ended.is_some()));
        }
        self.servers.clear();
    }

    /// Notes an error: where nothing is disturbed, none is right.
    fn note<T, E: fmt::Debug + std::error::Error>(
        &self,
        what: &str,
        ended: Option<Result<T, E>>,
    ) -> Option<T> {
        match ended? {
            Ok(value) => Some(value),
            Err(error) => {
                let text = format!("{what}: {}", Report(&error));
                if self.world.is_calm {
                    self.world.log.violation(text);
                } else {
                    self.world.log.add(format_args!("{text}"));
                }
                None
            }
        }
    }
}
