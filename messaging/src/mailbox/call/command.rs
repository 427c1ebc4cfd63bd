//! A command: who it is for, and how its replies are waited for.

use std::{collections::HashSet, fmt, time::Duration};

use serde::Serialize;
use serde_json::{Map, Value};
use tokio::time::{sleep, timeout_at};
use uuid::Uuid;

use crate::{
    error::{Error, mailbox::MailboxError},
    mailbox::{
        call::replies::Replies,
        namespace::{
            clock,
            mailbox::Mailbox,
            recipients::{LONGEST_PATTERN, Matcher},
            reply_queue::ReplyQueue,
            wire::{self, ReplyTo, SentCommand},
        },
    },
    retry::RetryPolicy,
};

/// The default time that replies are waited for, as in kombu.
const TIMEOUT: Duration = Duration::from_secs(1);

/// A command to the nodes of a mailbox. [`Mailbox::command`] makes it.
///
/// | kombu | here |
/// |---|---|
/// | `abcast(method)` | `command(method).cast()` |
/// | `cast([names], method)` | `command(method).to([names]).cast()` |
/// | `multi_call(method)` | `command(method).call()` |
/// | `call([names], method)` | `command(method).to([names]).call()` |
#[derive(Clone)]
#[must_use = "a command is sent by `cast` or `call`"]
pub struct Command {
    mailbox: Mailbox,
    method: String,
    arguments: Map<String, Value>,
    destination: Option<Vec<String>>,
    pattern: Option<(Matcher, String)>,
    timeout: Duration,
    limit: Option<usize>,
    has_own_reply_queue: bool,
}

impl Mailbox {
    /// Returns a command that calls a method, without arguments, on all nodes.
    pub fn command(&self, method: impl Into<String>) -> Command {
        Command {
            mailbox: self.clone(),
            method: method.into(),
            arguments: Map::new(),
            destination: None,
            pattern: None,
            timeout: TIMEOUT,
            limit: None,
            has_own_reply_queue: false,
        }
    }
}

impl Command {
    /// Sets the arguments by their names: a struct or a map.
    ///
    /// # Errors
    /// [`MailboxError::Arguments`] for a value that does not make a JSON object, and
    /// [`Error::Encode`] for one that has no JSON form.
    pub fn arguments<A: Serialize + ?Sized>(mut self, arguments: &A) -> Result<Self, Error> {
        let encoded = serde_json::to_value(arguments);
        let encoded =
            encoded.map_err(|source| Error::Encode { what: "the arguments of a command", source })?;
        self.arguments = match encoded {
            Value::Object(arguments) => arguments,
            Value::Null => Map::new(),
            _ => return Err(MailboxError::Arguments { method: self.method }.into()),
        };
        Ok(self)
    }

    /// Sets the arguments by their names.
    pub(crate) fn object(mut self, arguments: Map<String, Value>) -> Self {
        self.arguments = arguments;
        self
    }

    /// Sends it to the nodes of these names only. Without any name it is sent to nobody, although
    /// Python's libraries take an empty list for all nodes. Default: to all nodes.
    pub fn to<N: Into<String>>(mut self, nodes: impl IntoIterator<Item = N>) -> Self {
        self.destination = Some(nodes.into_iter().map(Into::into).collect());
        self
    }

    /// Sends it to the nodes whose names fit a pattern. Names that are given by [`to`](Self::to)
    /// take precedence.
    ///
    /// # Errors
    /// [`MailboxError::Pattern`] for a pattern that cannot be read, and
    /// [`MailboxError::LongPattern`] for one over 4096 bytes, which this library's nodes do not
    /// evaluate.
    pub fn matching(mut self, matcher: Matcher, pattern: impl Into<String>) -> Result<Self, Error> {
        let pattern = pattern.into();
        if pattern.len() > LONGEST_PATTERN {
            let (length, limit) = (pattern.len(), LONGEST_PATTERN);
            return Err(MailboxError::LongPattern { length, limit }.into());
        }
        if let Err(source) = matcher.fits(&pattern, "") {
            return Err(MailboxError::Pattern { pattern, source }.into());
        }
        self.pattern = Some((matcher, pattern));
        Ok(self)
    }

    /// Sets the time for the whole call, from its start to the last reply; default 1 s.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Ends the call after so many replies. Default: without limit; the call ends when all named
    /// nodes have answered, or at its deadline.
    pub fn limit(mut self, replies: usize) -> Self {
        self.limit = Some(replies);
        self
    }

    /// Makes a reply queue for this call alone, so that replies without a ticket count for it.
    /// kombu's nodes send tickets; this is for nodes of other libraries that do not. It costs the
    /// declaration of a queue. Default: calls share a queue, and such replies are dropped and
    /// counted.
    pub fn own_reply_queue(mut self, own: bool) -> Self {
        self.has_own_reply_queue = own;
        self
    }

    /// Sends the command, and wants no replies.
    ///
    /// # Errors
    /// As [`Producer::ensure_publish`](crate::Producer::ensure_publish).
    ///
    /// # Cancel safety
    /// When the future is dropped the command may or may not be sent.
    pub async fn cast(self) -> Result<(), Error> {
        if self.is_for_nobody() {
            return Ok(());
        }
        self.publish(None, RetryPolicy::default()).await
    }

    /// Sends the command, and returns the replies as they arrive.
    ///
    /// # Errors
    /// When the command cannot be sent, and [`Error::Timeout`] when the time for the whole call
    /// passes before it is, which includes the time until replies arrive again after a lost
    /// connection.
    ///
    /// # Cancel safety
    /// When the future is dropped the command may or may not be sent.
    pub async fn call(self) -> Result<Replies, Error> {
        // Unlike an addition, this takes a time that goes beyond all instants.
        let deadline = sleep(self.timeout).deadline();
        let named = self.destination.as_ref().map(|names| names.iter().cloned().collect::<HashSet<_>>());
        if self.is_for_nobody() {
            return Ok(Replies::new(self.mailbox, None, deadline, self.limit, named));
        }
        let sending = async {
            let queue = match self.has_own_reply_queue {
                true => ReplyQueue::start(&self.mailbox.namespace, true).await?,
                false => self.mailbox.shared_reply_queue().await?,
            };
            queue.reached(&self.mailbox.namespace).await?;
            let ticket = Uuid::new_v4().to_string();
            let exchange = self.mailbox.namespace.reply_exchange.name().to_owned();
            let reply_to = ReplyTo { exchange, routing_key: queue.routing_key().to_owned() };
            let pending = queue.call(&ticket).ok_or(Error::Closed)?;
            let retry = RetryPolicy::default().deadline(self.timeout);
            self.publish(Some((&ticket, reply_to)), retry).await?;
            Ok::<_, Error>(pending)
        };
        let late = |_| Error::Timeout { after: self.timeout, during: "sending a command" };
        let pending = timeout_at(deadline, sending).await.map_err(late)??;
        Ok(Replies::new(self.mailbox, Some(pending), deadline, self.limit, named))
    }

    /// Whether no node could answer, so that it need not be sent.
    fn is_for_nobody(&self) -> bool {
        self.destination.as_ref().is_some_and(Vec::is_empty)
    }

    /// Publishes it, with the ticket and the address of its replies if those are wanted.
    async fn publish(&self, reply: Option<(&str, ReplyTo)>, retry: RetryPolicy) -> Result<(), Error> {
        let namespace = &self.mailbox.namespace;
        let timeout = reply.is_some().then_some(self.timeout);
        let (ticket, reply_to) = reply.unzip();
        let body = SentCommand {
            method: &self.method,
            arguments: &self.arguments,
            destination: self.destination.as_deref(),
            pattern: self.pattern.as_ref().map(|(_, pattern)| &**pattern),
            matcher: self.pattern.as_ref().map(|(matcher, _)| matcher.name()),
            ticket,
            reply_to,
        };
        let options =
            namespace.options().header(clock::HEADER, clock::header_value(namespace.clock.tick()))?;
        let options = options.header(wire::EXPIRES, wire::expires(timeout))?;
        let producer = namespace.commands.clone().retry(retry);
        producer.ensure_publish(("", &options), &body).await.map(drop)
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Command")
            .field("method", &self.method)
            .field("destination", &self.destination)
            .field("pattern", &self.pattern)
            .finish_non_exhaustive()
    }
}
