//! A node: it takes the commands of a mailbox that are for it, and answers them.

use std::{fmt, sync::Arc, time::Duration};

use amqp_client::{Report, Table};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};

use crate::{
    consume::{
        handlers::handling::shown,
        worker::{Incoming, Worker},
    },
    error::{Error, mailbox::MailboxError},
    mailbox::{
        namespace::{
            clock,
            mailbox::Mailbox,
            namespace::Namespace,
            wire::{self, ReceivedCommand, ReplyTo},
        },
        node::{
            handlers::{HandlerTable, Handlers},
            request::{Failure, Request},
            stop::Stop,
        },
    },
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

/// How many commands are handled at once by default.
const CONCURRENCY: u16 = 16;

/// The settings of a node that is about to start. [`Mailbox::node`] makes it.
#[derive(Clone)]
#[must_use = "a node is started by `start`"]
pub struct NodeBuilder {
    mailbox: Mailbox,
    name: String,
    handlers: HandlerTable,
    concurrency: u16,
    is_silent: bool,
    tolerance: Option<Duration>,
}

impl Mailbox {
    /// Returns the builder of a node of this name. Celery's names have the form `name@host`.
    pub fn node(&self, name: impl Into<String>) -> NodeBuilder {
        NodeBuilder {
            mailbox: self.clone(),
            name: name.into(),
            handlers: HandlerTable::default(),
            concurrency: CONCURRENCY,
            is_silent: false,
            tolerance: None,
        }
    }
}

impl NodeBuilder {
    /// Adds the handler of a method, or replaces it.
    ///
    /// The arguments are those of the command by their names, `()` when there are none; those that
    /// do not make an `A` are answered with a `TypeError`. A struct ignores arguments that it does
    /// not have, unless it says `#[serde(deny_unknown_fields)]`. The result is the node's answer,
    /// and an error or a panic becomes `{"error": text}`. State is shared by what the closure
    /// captures.
    pub fn handler<A, R, E, F, Fut>(mut self, method: impl Into<String>, handler: F) -> Self
    where
        A: DeserializeOwned,
        R: Serialize,
        E: Into<Failure>,
        F: Fn(Request, A) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<R, E>> + Send + 'static,
    {
        self.handlers.add(method.into(), handler);
        self
    }

    /// Adds the handlers of a type. Closures are asked first, then types in the order they were
    /// added.
    pub fn handlers(mut self, handlers: impl Handlers) -> Self {
        self.handlers.add_type(handlers);
        self
    }

    /// Sets how many commands are handled at once, at least 1; default 16. With 1, commands are
    /// handled in the order they arrive, as in kombu, and a slow handler holds up the others.
    pub fn concurrency(mut self, handlers: u16) -> Self {
        self.concurrency = handlers;
        self
    }

    /// Sets whether commands for unknown methods get no answer. Default false: they are answered
    /// with `{"error": "KeyError('name')"}`, as kombu does.
    pub fn silent_on_unknown(mut self, silent: bool) -> Self {
        self.is_silent = silent;
        self
    }

    /// Ignores a command whose sender stopped waiting more than `tolerance` ago, by the sender's
    /// wall clock. Default: such commands are handled, as in kombu, because a node whose clock runs
    /// ahead would otherwise never answer.
    pub fn obey_expiry(mut self, tolerance: Duration) -> Self {
        self.tolerance = Some(tolerance);
        self
    }

    /// Declares the node's queue, and begins to take commands. A lost connection is recovered.
    ///
    /// # Errors
    /// [`MailboxError::NameTaken`] when another node has this name, as far as the broker can tell;
    /// or there is no connection, or the broker refuses a declaration.
    ///
    /// # Cancel safety
    /// What was declared stays declared until its connection closes.
    pub async fn start(self) -> Result<Node, Error> {
        let NodeBuilder { mailbox, name, handlers, concurrency, is_silent, tolerance } = self;
        let namespace = mailbox.namespace.clone();
        let queue = namespace.node_queue(&name);
        let stop = Arc::new(Stop::default());
        let running = Arc::new(Running {
            mailbox: mailbox.clone(),
            name: name.as_str().into(),
            handlers,
            is_silent,
            tolerance,
            stop: stop.clone(),
        });
        let malformed = running.clone();
        let started = namespace
            .transport
            .worker(queue)
            .bind(&namespace.exchange, "")
            // A queue accepts further consumers, of the same connection even if it is exclusive,
            // unless one is exclusive.
            .exclusive(true)
            .serializers(namespace.settings.serializers.clone())
            .max_message_size(namespace.settings.max_message_size)
            .concurrency(concurrency)
            .on_undecodable(move |_, reason| {
                malformed.malformed(&Report(&reason));
                std::future::ready(Ok::<_, Error>(()))
            })
            .start(move |command| running.clone().handle(command))
            .await;
        let worker = started.map_err(|error| match error {
            Error::QueueTaken { source, .. } => MailboxError::NameTaken { node: name.clone(), source }.into(),
            error => error,
        })?;
        stop.started(worker.stopper());
        Ok(Node { worker, name, mailbox })
    }
}

impl fmt::Debug for NodeBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let methods: Vec<_> = self.handlers.methods().collect();
        f.debug_struct("NodeBuilder")
            .field("name", &self.name)
            .field("methods", &methods)
            .finish_non_exhaustive()
    }
}

/// A node of a mailbox that takes commands. [`NodeBuilder::start`] makes it.
///
/// # On drop
/// Handlers that run are aborted, and the node's queue is deleted.
#[must_use = "a node stops when it is dropped"]
pub struct Node {
    worker: Worker,
    name: String,
    mailbox: Mailbox,
}

impl Node {
    /// Returns its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns its mailbox.
    #[must_use]
    pub fn mailbox(&self) -> &Mailbox {
        &self.mailbox
    }

    /// Makes the node take no more commands, without waiting for those in progress.
    pub(crate) fn request_stop(&self) {
        self.worker.stopper().stop();
    }

    /// Takes no more commands, and waits for the handlers that run.
    ///
    /// # Cancel safety
    /// If the future is dropped while pending, running handlers are aborted.
    pub async fn stop(self) {
        self.worker.stop().await;
    }

    /// Waits until the node has stopped because a handler [asked for
    /// it](Request::stop_node), or cannot go on: its transport is closed, or another node has taken
    /// its name after a lost connection and keeps it for longer than
    /// [`wait_for_release`](crate::TransportOptions::wait_for_release), 5 minutes by default.
    ///
    /// # Errors
    /// The reason, unless it was asked to stop or its transport was closed.
    ///
    /// # Cancel safety
    /// When the future is dropped the node goes on, and can be waited for again.
    pub async fn wait(&mut self) -> Result<(), Error> {
        self.worker.wait().await
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What the handlers of commands share.
struct Running {
    mailbox: Mailbox,
    name: Arc<str>,
    handlers: HandlerTable,
    is_silent: bool,
    tolerance: Option<Duration>,
    stop: Arc<Stop>,
}

impl Running {
    /// Handles a message. Whatever is wrong with it, the message is done with afterwards.
    async fn handle(self: Arc<Self>, incoming: Incoming<Value>) -> Result<(), std::convert::Infallible> {
        let properties = incoming.properties().clone();
        let headers = properties.headers.as_ref();
        let time = clock::Received::of(headers);
        let is_wrong = !self.namespace().clock.receive(time);
        match ReceivedCommand::read(incoming.into_body()) {
            Ok(command) => {
                if is_wrong {
                    self.log_wrong_clock(&command);
                }
                self.handle_command(command, headers).await;
            }
            Err(reason) => self.malformed(&reason),
        }
        Ok(())
    }

    async fn handle_command(&self, command: ReceivedCommand, headers: Option<&Table>) {
        match command.recipients.include(&self.name) {
            Ok(true) => {}
            Ok(false) => return self.namespace().counters.commands_ignored.add(),
            Err(reason) => return self.malformed(&reason),
        }
        let expired = wire::expired_for(headers);
        if let Some((ago, tolerance)) = expired.zip(self.tolerance)
            && ago > tolerance
        {
            tracing::debug!(
                node = &*self.name,
                method = shown(&command.method),
                ?ago,
                "a command had expired; it is ignored"
            );
            return self.namespace().counters.commands_ignored.add();
        }
        self.namespace().counters.commands_handled.add();
        self.answer(command).await;
    }

    /// Runs the handler of a command, and replies if a reply is wanted.
    async fn answer(&self, command: ReceivedCommand) {
        let is_reply_withheld = Arc::new(AtomicBool::new(false));
        let request = Request {
            method: command.method.as_str().into(),
            node: self.name.clone(),
            sender: command.reply_to.as_ref().map(|reply_to| reply_to.routing_key.as_str().into()),
            clock: self.namespace().clock.now(),
            is_reply_withheld: is_reply_withheld.clone(),
            stop: self.stop.clone(),
        };
        let answer = match self.handlers.handle(request, command.arguments).await {
            Some(Ok(answer)) => answer,
            Some(Err(failure)) => self.failed(&command.method, &failure),
            None if self.is_silent => return,
            None => self.failed(&command.method, &Failure::unknown_method(&command.method)),
        };
        if let Some(reply_to) = command.reply_to
            && !is_reply_withheld.load(Relaxed)
        {
            self.reply(&reply_to, command.ticket.as_deref(), answer).await;
        }
    }

    fn failed(&self, method: &str, failure: &Failure) -> Value {
        if let Some(left_out) = self.namespace().logs.failed.next() {
            tracing::warn!(
                node = &*self.name,
                method = shown(method),
                failure = shown(failure.text()),
                left_out,
                "a command failed; the error is sent to its sender"
            );
        }
        json!({"error": failure.text()})
    }

    async fn reply(&self, reply_to: &ReplyTo, ticket: Option<&str>, answer: Value) {
        // A command must not make this node publish wherever its sender likes.
        if reply_to.exchange != self.namespace().reply_exchange.name() {
            let Some(left_out) = self.namespace().logs.foreign_exchange.next() else { return };
            let exchange = shown(&reply_to.exchange);
            tracing::warn!(
                node = &*self.name,
                exchange,
                left_out,
                "a command asks for its reply on an exchange that is not the mailbox's; it gets none"
            );
            return;
        }
        let body = Map::from_iter([(self.name.as_ref().to_owned(), answer)]);
        if let Err(error) = self.namespace().reply(&reply_to.routing_key, ticket, &body).await {
            tracing::warn!(node = &*self.name, error = %Report(&error), "a reply could not be published; its receiver does not get it");
        }
    }

    fn malformed(&self, reason: &dyn fmt::Display) {
        self.namespace().counters.commands_malformed.add();
        let Some(left_out) = self.namespace().logs.malformed.next() else { return };
        let reason = reason.to_string();
        tracing::warn!(
            node = &*self.name,
            reason = shown(&reason),
            left_out,
            "a command cannot be read; it is ignored"
        );
    }

    fn log_wrong_clock(&self, command: &ReceivedCommand) {
        let sender = command.reply_to.as_ref().map_or("", |reply_to| &*reply_to.routing_key);
        if self.namespace().wrong_clocks.is_new(sender) {
            let sender = shown(sender);
            tracing::warn!(
                node = &*self.name,
                sender,
                "a command carries a logical time that is no number or too far ahead; it is not adopted"
            );
        }
    }

    fn namespace(&self) -> &Namespace {
        &self.mailbox.namespace
    }
}
