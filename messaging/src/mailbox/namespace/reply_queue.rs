//! The queue that replies arrive on, and the calls that wait for them.

use std::{
    collections::HashMap,
    fmt,
    future::poll_fn,
    sync::{Arc, Weak},
    task::{Context, Poll},
    time::Duration,
};

use amqp_client::{Event, Report, Table};
use serde_json::{Map, Value};
use tokio::{sync::mpsc, task::AbortHandle, time::timeout};
use uuid::Uuid;

use crate::{
    connection::{event::ConnectionEvents, state::Role},
    consume::{consumer::Delivery, handlers::handling::shown, typed_consumer::Consumer},
    error::{Error, Malformed},
    mailbox::namespace::{clock, namespace::Namespace, reply::Reply, reply_error::ReplyError, wire},
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
};

/// How many replies the broker sends before they are sorted.
const PREFETCH: u16 = 512;

/// The most bytes of replies that wait for one call to read them.
const MOST_WAITING: usize = 64 * 1024 * 1024;

/// What a value takes in memory beside its text, about.
const OVERHEAD: usize = 64;

/// How long a probe of the queue may take before the next one is sent.
const PROBE_PAUSE: Duration = Duration::from_millis(200);

/// A queue for replies, which are sorted by the tickets of their commands.
pub(crate) struct ReplyQueue {
    routing_key: String,
    calls: Arc<Calls>,
    receiving: AbortHandle,
}

/// The calls that wait for replies, by their tickets; `None` after the end of the consumer.
struct Calls {
    by_ticket: Mutex<Option<HashMap<String, Pending>>>,
    /// Whether the queue was made for one call, so that replies without ticket are for it.
    is_of_one_call: bool,
    /// Whether replies arrive as far as known. After a lost connection the queue may not be
    /// consumed yet, or still belong to the lost connection.
    is_reached: AtomicBool,
}

/// The end of a call at which its replies come in.
#[derive(Clone)]
struct Pending {
    replies: mpsc::UnboundedSender<(Result<Reply, ReplyError>, usize)>,
    /// The bytes that wait to be read.
    waiting: Arc<AtomicUsize>,
}

/// A call that waits for replies.
///
/// # On drop
/// Its ticket is no longer known.
pub(crate) struct PendingCall {
    queue: Arc<ReplyQueue>,
    ticket: String,
    replies: mpsc::UnboundedReceiver<(Result<Reply, ReplyError>, usize)>,
    waiting: Arc<AtomicUsize>,
}

impl ReplyQueue {
    /// Declares a queue of its own for a mailbox, and receives replies from it.
    pub(crate) async fn start(namespace: &Arc<Namespace>, is_of_one_call: bool) -> Result<Arc<Self>, Error> {
        let routing_key = Uuid::new_v4().to_string();
        let queue = namespace.reply_queue(&routing_key);
        let events = namespace.transport.events();
        let consumer = namespace
            .transport
            .consumer(queue)
            .bind(&namespace.reply_exchange, &routing_key)
            .prefetch(PREFETCH)
            .serializers(namespace.settings.serializers.clone())
            .max_message_size(namespace.settings.max_message_size)
            .start()
            .await?;
        let by_ticket = Mutex::new(Some(HashMap::new()));
        let calls = Arc::new(Calls { by_ticket, is_of_one_call, is_reached: AtomicBool::new(true) });
        let receiving = receive(consumer, events, Arc::downgrade(namespace), calls.clone());
        let receiving = tokio::spawn(receiving);
        Ok(Arc::new(ReplyQueue { routing_key, calls, receiving: receiving.abort_handle() }))
    }

    /// Returns the routing key of replies.
    pub(crate) fn routing_key(&self) -> &str {
        &self.routing_key
    }

    /// Begins to wait for the replies with a ticket. Returns `None` if no replies arrive any more.
    pub(crate) fn call(self: Arc<Self>, ticket: &str) -> Option<PendingCall> {
        let (sender, replies) = mpsc::unbounded_channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let pending = Pending { replies: sender, waiting: waiting.clone() };
        self.calls.by_ticket.lock().as_mut()?.insert(ticket.to_owned(), pending);
        Some(PendingCall { queue: self, ticket: ticket.to_owned(), replies, waiting })
    }

    /// Waits until replies arrive, if the connection was lost since that was last known. Until the
    /// queue is consumed again, replies would be lost and their nodes taken for dead.
    pub(crate) async fn reached(self: &Arc<Self>, namespace: &Namespace) -> Result<(), Error> {
        if self.calls.is_reached.load(Relaxed) {
            return Ok(());
        }
        let ticket = Uuid::new_v4().to_string();
        let mut probe = self.clone().call(&ticket).ok_or(Error::Closed)?;
        let probe_body = Map::from_iter([("probe".to_owned(), Value::Null)]);
        loop {
            namespace.reply(&self.routing_key, Some(&ticket), &probe_body).await?;
            let next = poll_fn(|context| probe.poll_next(context));
            match timeout(PROBE_PAUSE, next).await {
                Ok(Some(Ok(_))) => {
                    self.calls.is_reached.store(true, Relaxed);
                    return Ok(());
                }
                Ok(Some(Err(ReplyError::Ended)) | None) => return Err(Error::Closed),
                Ok(Some(Err(_))) | Err(_) => {}
            }
        }
    }

    /// Whether no replies arrive any more.
    pub(crate) fn has_ended(&self) -> bool {
        self.calls.by_ticket.lock().is_none()
    }
}

impl Drop for ReplyQueue {
    fn drop(&mut self) {
        self.receiving.abort();
    }
}

impl PendingCall {
    pub(crate) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Reply, ReplyError>>> {
        self.replies.poll_recv(context).map(|next| {
            let (reply, weight) = next?;
            self.waiting.fetch_sub(weight, Relaxed);
            Some(reply)
        })
    }
}

impl Drop for PendingCall {
    fn drop(&mut self) {
        if let Some(calls) = self.queue.calls.by_ticket.lock().as_mut() {
            calls.remove(&self.ticket);
        }
    }
}

/// Sorts replies until their consumer ends or the mailbox is dropped.
async fn receive(
    mut consumer: Consumer<Value>,
    mut events: ConnectionEvents,
    namespace: Weak<Namespace>,
    calls: Arc<Calls>,
) {
    loop {
        let next = tokio::select! {
            biased;
            Some(event) = events.recv() => {
                if event.connection == Role::Consume && matches!(event.event, Event::Disconnected(_)) {
                    calls.interrupt();
                }
                continue;
            }
            next = consumer.recv() => next,
        };
        let (Some(next), Some(namespace)) = (next, namespace.upgrade()) else { break };
        if !calls.receive(&namespace, next).await {
            break;
        }
    }
    calls.end();
}

impl Calls {
    /// Receives a message. Returns `false` at the end.
    async fn receive(&self, namespace: &Namespace, next: Result<Delivery<Value>, Error>) -> bool {
        // A message that is not acknowledged goes with its queue.
        let _ = match next {
            Ok(delivery) => {
                let properties = delivery.properties().ok();
                let headers = properties.as_ref().and_then(|properties| properties.headers.as_ref());
                self.sort(namespace, headers, Ok(delivery.body().clone()));
                delivery.ack().await
            }
            Err(Error::Undecodable(undecodable)) => {
                let properties = undecodable.delivery.properties().ok();
                let headers = properties.as_ref().and_then(|properties| properties.headers.as_ref());
                self.sort(namespace, headers, Err(undecodable.reason));
                undecodable.delivery.ack().await.map_err(Error::broker("acknowledge a reply"))
            }
            Err(error) => {
                tracing::debug!(error = %Report(&error), "the consumer of replies ended");
                return false;
            }
        };
        true
    }

    /// Tells the calls that the connection was lost.
    fn interrupt(&self) {
        self.is_reached.store(false, Relaxed);
        for pending in self.by_ticket.lock().iter().flat_map(HashMap::values) {
            // The call may have ended meanwhile.
            let _ = pending.replies.send((Err(ReplyError::Interrupted), 0));
        }
    }

    /// Passes a reply on to the call that it is for.
    fn sort(&self, namespace: &Namespace, headers: Option<&Table>, body: Result<Value, Malformed>) {
        let time = clock::Received::of(headers);
        if !namespace.clock.receive(time) {
            log_wrong_clock(namespace, body.as_ref().ok());
        }
        let ticket = headers.and_then(|headers| headers.get(wire::TICKET));
        let counters = &namespace.counters;
        let Some(pending) = self.pending(ticket.as_ref().and_then(|ticket| ticket.as_str())) else {
            match ticket {
                Some(ticket) if ticket.as_str().is_some() => counters.replies_late.add(),
                _ => {
                    counters.replies_without_ticket.add();
                    if let Some(left_out) = namespace.logs.without_ticket.next() {
                        let name = &*namespace.name;
                        tracing::warn!(
                            namespace = name,
                            left_out,
                            "a reply has no ticket and may be for any call; it is dropped"
                        );
                    }
                }
            }
            return;
        };
        counters.replies_received.add();
        match body.map(wire::answers) {
            Ok(Some(answers)) => {
                for (node, answer) in answers {
                    let weight = OVERHEAD + node.len() + weight(&answer);
                    pending.pass(namespace, Ok(Reply::new(node, answer)), weight);
                }
            }
            Ok(None) => pending.pass(namespace, Err(ReplyError::NotAnObject), OVERHEAD),
            Err(reason) => pending.pass(namespace, Err(ReplyError::Undecodable(Box::new(reason))), OVERHEAD),
        }
    }

    fn pending(&self, ticket: Option<&str>) -> Option<Pending> {
        let calls = self.by_ticket.lock();
        let calls = calls.as_ref()?;
        match ticket {
            Some(ticket) => calls.get(ticket).cloned(),
            None if self.is_of_one_call => calls.values().next().cloned(),
            None => None,
        }
    }

    fn end(&self) {
        let calls = self.by_ticket.lock().take().unwrap_or_default();
        for pending in calls.into_values() {
            // The call may have ended meanwhile.
            let _ = pending.replies.send((Err(ReplyError::Ended), 0));
        }
    }
}

impl Pending {
    /// Passes a reply of this weight in bytes on. When too many wait already, the call gets an
    /// error instead, which weighs nothing.
    fn pass(&self, namespace: &Namespace, reply: Result<Reply, ReplyError>, weight: usize) {
        let waiting = self.waiting.load(Relaxed);
        if waiting.saturating_add(weight) <= MOST_WAITING {
            self.waiting.fetch_add(weight, Relaxed);
            // The call may have ended meanwhile.
            let _ = self.replies.send((reply, weight));
            return;
        }
        namespace.counters.replies_dropped.add();
        // One error tells of all that were dropped while no reply was read.
        if waiting < MOST_WAITING {
            let rest = MOST_WAITING - waiting;
            self.waiting.fetch_add(rest, Relaxed);
            let _ = self.replies.send((Err(ReplyError::NoRoom { bytes: waiting }), rest));
        }
    }
}

fn log_wrong_clock(namespace: &Namespace, body: Option<&Value>) {
    let node = body.and_then(Value::as_object).and_then(|answers| answers.keys().next());
    let node = node.map_or("", String::as_str);
    if namespace.wrong_clocks.is_new(node) {
        let node = shown(node);
        tracing::warn!(
            node,
            "a reply carries a logical time that is no number or too far ahead; it is not adopted"
        );
    }
}

/// The bytes that a value takes in memory, about.
fn weight(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => OVERHEAD,
        Value::String(text) => OVERHEAD + text.len(),
        Value::Array(items) => OVERHEAD + items.iter().map(weight).sum::<usize>(),
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| OVERHEAD + name.len() + weight(value));
            OVERHEAD + fields.sum::<usize>()
        }
    }
}

impl fmt::Debug for ReplyQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplyQueue").field("routing_key", &self.routing_key).finish_non_exhaustive()
    }
}
