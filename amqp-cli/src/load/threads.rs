//! The threads in which publishers and consumers run.
//!
//! Each has a runtime of its own. A connection with its driver, its publishers and its consumers
//! stays in one thread, so that no message is handed from thread to thread.

use std::{
    io,
    sync::Arc,
    thread::{Builder, JoinHandle},
};

use amqp_client::Connection;
use tokio::{runtime, sync::oneshot, task::JoinSet};

use crate::{
    connection::target::{Target, close},
    error::Error,
    load::{
        bodies::{Content, text_of},
        consumer::LoadConsumer,
        counters::{Load, Stage},
        plan::Part,
        publisher::LoadPublisher,
    },
};

/// A connection's part of the load, with the numbers of its workers and of its publishers.
#[derive(Clone)]
struct Assigned {
    part: Part,
    worker: usize,
    publisher: usize,
}

/// The threads of a load.
#[derive(Debug)]
pub(crate) struct Threads(Vec<(JoinHandle<()>, oneshot::Receiver<()>)>);

impl Threads {
    /// Starts the threads. They open their connections and count themselves ready.
    ///
    /// # Errors
    /// [`Error::System`] when the system gives no thread.
    pub(crate) fn start(load: &Arc<Load>, target: &Target, content: &Content) -> Result<Self, Error> {
        let mut assigned = vec![Vec::new(); load.plan.threads.max(1)];
        let width = assigned.len();
        let (mut worker, mut publisher) = (0, 0);
        for (number, part) in load.plan.parts().into_iter().enumerate() {
            let (publishers, consumers) = (part.publishers.len(), part.consumers.len());
            assigned[number % width].push(Assigned { part, worker, publisher });
            worker += publishers + consumers;
            publisher += publishers;
        }
        let mut threads = Threads(Vec::new());
        for assigned in assigned.into_iter().filter(|assigned| !assigned.is_empty()) {
            let (load, target, content) = (load.clone(), target.clone(), content.clone());
            let (sender, ended) = oneshot::channel();
            let system = |source| Error::System { operation: "start a thread", source };
            let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(system)?;
            let work = move || {
                runtime.block_on(run_all(load, target, content, assigned));
                // If nobody waits, nobody has to know.
                let _ = sender.send(());
            };
            let thread = Builder::new().name("load".to_owned()).spawn(work).map_err(system)?;
            threads.0.push((thread, ended));
        }
        Ok(threads)
    }

    /// Waits until all have ended.
    pub(crate) async fn join(self, load: &Load) {
        for (thread, ended) in self.0 {
            // The sender is dropped by a panic too.
            let _ = ended.await;
            if thread.join().is_err() {
                let source = io::Error::other("a thread has panicked");
                load.fail(Error::System { operation: "run the load", source });
            }
        }
    }
}

async fn run_all(load: Arc<Load>, target: Target, content: Content, all: Vec<Assigned>) {
    let mut connections = JoinSet::new();
    for assigned in all {
        let (load, target, content) = (load.clone(), target.clone(), content.clone());
        connections.spawn(async move {
            if let Err(error) = run(&load, &target, &content, assigned).await {
                load.fail(error);
            }
        });
    }
    connections.join_all().await;
}

async fn run(load: &Arc<Load>, target: &Target, content: &Content, assigned: Assigned) -> Result<(), Error> {
    let window = load.plan.confirm_window.max(1);
    let connection = target
        .connect_with(|options| options.confirm_window(window.max(1 << 16)).confirm_window_bytes(u64::MAX))
        .await?;
    let flowed = flow(load, &connection, content, assigned).await;
    close(&connection).await;
    flowed
}

async fn flow(
    load: &Arc<Load>,
    connection: &Connection,
    content: &Content,
    assigned: Assigned,
) -> Result<(), Error> {
    note_broker(load, connection);
    let Assigned { part, mut worker, mut publisher } = assigned;
    let mut stage = load.stage.subscribe();
    let (mut publishers, mut consumers) = (Vec::new(), Vec::new());
    for queues in part.publishers {
        let channel = connection.open_channel().await.map_err(Error::broker("open a channel"))?;
        let numbers = (worker, publisher);
        publishers.push(LoadPublisher::new(load.clone(), content.clone(), channel, numbers, queues).await?);
        (worker, publisher) = (worker + 1, publisher + 1);
    }
    for queue in part.consumers {
        let channel = connection.open_channel().await.map_err(Error::broker("open a channel"))?;
        consumers.push(LoadConsumer::new(load.clone(), &channel, worker, queue).await?);
        worker += 1;
    }
    load.ready.send_modify(|ready| *ready += 1);
    // The sender lives as long as the load.
    let _ = stage.wait_for(|stage| *stage > Stage::Preparing).await;
    let mut tasks = JoinSet::new();
    for consumer in consumers {
        tasks.spawn(consumer.run());
    }
    for publisher in publishers {
        tasks.spawn(publisher.run());
    }
    while let Some(ended) = tasks.join_next().await {
        match ended {
            Ok(ended) => ended?,
            Err(error) => return Err(Error::System { operation: "run the load", source: error.into() }),
        }
    }
    Ok(())
}

fn note_broker(load: &Load, connection: &Connection) {
    let properties = connection.server_properties();
    let text = |key| text_of(&properties, key).unwrap_or_default();
    *load.broker.lock() = format!("{} {}", text("product"), text("version")).trim().to_owned();
}
