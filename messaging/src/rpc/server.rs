//! Answering calls.

use std::{convert::Infallible, sync::Arc, time::Duration};

use amqp_client::{Delivery, Exchange};
use parking_lot::Mutex;
use tokio::time::{Instant, sleep};

use super::{
    dispatch::Dispatcher,
    endpoint::{Answer, Endpoint},
    vanished::Vanished,
    wire::{Received, Reply},
};
use crate::{
    consumer::Subscription,
    duplicates::Duplicates,
    envelope,
    error::{Error, Malformed, Outcome},
    json_message::json_message,
    producer::Producer,
    service::{Service, Stopping, Turn},
    target::Target,
    topology::Topology,
    transport::Transport,
};

/// How long, and how often, a reply is tried whose queue is not there: the client may be reconnecting.
const REPLY_PATIENCE: Duration = Duration::from_secs(60);
const REPLY_INTERVAL: Duration = Duration::from_millis(250);

/// A server of a topic, about to start. See [`Client`](super::Client) for an example.
///
/// Requests are acknowledged when their method is about to run: a server that crashes loses what it is running, and nothing
/// runs twice. A request that comes again, recognised by its id among the last 1024, is not run again.
#[derive(Debug)]
pub struct Server {
    transport: Transport,
    target: Target,
    dispatcher: Dispatcher,
    concurrency: u16,
}

impl Server {
    /// A server of the target's topic, under the target's server name. Without one it is named by a unique id.
    #[must_use]
    pub fn new(transport: &Transport, target: Target) -> Self {
        Server { transport: transport.clone(), target, dispatcher: Dispatcher::default(), concurrency: 64 }
    }

    /// Offers methods. Endpoints are asked in the order they are added.
    #[must_use]
    pub fn endpoint(mut self, endpoint: Endpoint) -> Self {
        self.dispatcher.add(endpoint);
        self
    }

    /// How many methods run at once, at least 1; further requests wait at the broker. Default 64.
    #[must_use]
    pub fn concurrency(mut self, methods: u16) -> Self {
        self.concurrency = methods.max(1);
        self
    }

    /// Declares the topic's queues and begins to serve. After a lost connection it begins again by itself.
    ///
    /// # Errors
    /// When there is no connection, or the broker refuses a declaration.
    pub async fn start(self) -> Result<RunningServer, Error> {
        let (subscriptions, fanout_queue) = self.subscriptions()?;
        let replies = self.transport.producer(Exchange::direct("")).mandatory(true);
        let shared = Arc::new(Shared {
            dispatcher: self.dispatcher,
            replies,
            duplicates: Mutex::default(),
            vanished: Mutex::default(),
        });
        let serve = move |delivery, turn, stopping| shared.clone().serve(delivery, turn, stopping);
        let service = Service::start(subscriptions, self.concurrency.into(), serve).await?;
        Ok(RunningServer { service, transport: self.transport, fanout_queue })
    }

    /// The topic's queue, the server's own, and the one for what goes to all servers; and the name of that.
    fn subscriptions(&self) -> Result<(Vec<Subscription>, String), Error> {
        let topology: &Topology = self.transport.topology();
        let topic = self.target.topic_name();
        let exchange = topology.exchange(self.target.exchange_name());
        let own = match self.target.server_name() {
            Some(_) => self.target.routing_key(),
            None => self.target.clone().server(crate::id::Id::new().to_string()).routing_key(),
        };
        let shared = |name: &str| self.subscription(topology.shared_queue(name)).bind(&exchange, name);
        let fanout_queue = topology.fanout_queue(topic)?;
        let fanout_name = fanout_queue.name().to_owned();
        let fanout = self.subscription(fanout_queue).bind(&topology.fanout_exchange(topic), topic);
        Ok((vec![shared(topic), shared(&own), fanout], fanout_name))
    }

    fn subscription(&self, queue: amqp_client::Queue) -> Subscription {
        self.transport.consumer(queue).prefetch(self.concurrency)
    }
}

/// A server that serves.
///
/// # On drop
/// It stops at once: methods are dropped at their next await point, and their callers get no reply.
#[must_use = "a server stops when this is dropped"]
pub struct RunningServer {
    service: Service,
    transport: Transport,
    fanout_queue: String,
}

impl RunningServer {
    /// Stops taking requests, waits for the methods that run and for their replies, and deletes the queue that only this
    /// server has. The others stay, with the requests in them, for the next server.
    ///
    /// # Errors
    /// When the queue cannot be deleted; the server has stopped all the same.
    pub async fn stop(self) -> Result<(), Error> {
        self.service.stop().await;
        self.transport.delete_queue(&self.fanout_queue).await
    }
}

struct Shared {
    dispatcher: Dispatcher,
    /// To the default exchange, which routes to queues by their names.
    replies: Producer,
    duplicates: Mutex<Duplicates>,
    vanished: Mutex<Vanished>,
}

impl Shared {
    /// One request, from its acknowledgement to its reply.
    async fn serve(self: Arc<Self>, delivery: Delivery, turn: Turn, stopping: Stopping) {
        let Some(mut request) = self.accept(delivery).await else { return };
        let answer = match (request.heartbeat, request.message_id.clone(), request.reply_queue.clone()) {
            (Some(interval), Some(id), Some(queue)) => tokio::select! {
                answer = self.dispatcher.answer(&mut request) => answer,
                never = self.heartbeats(&queue, &id, interval) => match never {},
            },
            _ => self.dispatcher.answer(&mut request).await,
        };
        // Who waits for a vanished client keeps nobody from working.
        drop(turn);
        match (&request.message_id, &request.reply_queue) {
            (Some(id), Some(queue)) => self.reply(queue, id, &answer, stopping).await,
            (Some(_), None) => tracing::warn!("a request asks for a reply and names no queue for it"),
            (None, _) => {
                if let Err(failure) = answer {
                    tracing::warn!(class = failure.class(), message = failure.message(), "a cast failed");
                }
            }
        }
    }

    /// Reads and acknowledges a request; `None` when there is nothing to run.
    async fn accept(&self, delivery: Delivery) -> Option<Received> {
        let (settled, request) = match read(&delivery) {
            Ok(request) => (delivery.ack().await, Some(request)),
            Err(reason) => {
                tracing::error!(%reason, "an unreadable request is rejected");
                (delivery.reject(false).await, None)
            }
        };
        if let Err(error) = settled {
            // It will be delivered again.
            tracing::debug!(%error, "a request was not settled, and is not run");
            return None;
        }
        let request = request?;
        if request.unique_id.as_deref().is_some_and(|id| self.duplicates.lock().is_repeated(id)) {
            tracing::debug!(id = request.unique_id, "a request came again, and is not run again");
            return None;
        }
        Some(request)
    }

    /// Tells a client again and again that its call is being worked on, until this future is dropped.
    async fn heartbeats(&self, queue: &str, id: &str, interval: Duration) -> Infallible {
        loop {
            sleep(interval).await;
            match envelope::encode(&Reply::heartbeat(id)) {
                Ok(body) => {
                    // One that is lost is made up for by the next.
                    if let Err(error) = self.replies.deliver(queue, &json_message(body, None), None).await {
                        tracing::debug!(%error, "a heartbeat was not sent");
                    }
                }
                Err(error) => tracing::error!(%error, "a heartbeat cannot be encoded"),
            }
        }
    }

    async fn reply(&self, queue: &str, id: &str, answer: &Answer, mut stopping: Stopping) {
        let body = match Reply::new(id, answer).and_then(|reply| envelope::encode(&reply)) {
            Ok(body) => body,
            Err(error) => {
                tracing::error!(%error, "a reply cannot be encoded");
                return;
            }
        };
        let message = json_message(body, None);
        let patience = if self.vanished.lock().contains(queue) { Duration::ZERO } else { REPLY_PATIENCE };
        let give_up = Instant::now() + patience;
        loop {
            match self.replies.deliver(queue, &message, None).await {
                Ok(_) => return,
                Err(Error::Undelivered(undelivered)) if undelivered.outcome == Outcome::Unroutable => {}
                Err(error) => {
                    tracing::error!(%error, "a reply was not sent");
                    return;
                }
            }
            if Instant::now() >= give_up {
                break;
            }
            tokio::select! {
                () = stopping.requested() => break,
                () = sleep(REPLY_INTERVAL) => {}
            }
        }
        tracing::warn!(queue, "the client of a call has vanished");
        let mut vanished = self.vanished.lock();
        if !vanished.contains(queue) {
            vanished.insert(queue);
        }
    }
}

fn read(delivery: &Delivery) -> Result<Received, Malformed> {
    Ok(Received::from_json(&envelope::open(delivery)?)?)
}
