//! A command with typed answers.

use std::{collections::BTreeMap, fmt, time::Duration};

use serde::de::DeserializeOwned;

use crate::{
    error::Error,
    mailbox::{Command, Matcher, Replies, Reply, ReplyError},
};

/// A command of Celery's remote control whose answers are of the type `T`. It is sent to all nodes
/// by default, and its answers are waited for during 1 s.
///
/// Without [`to`](Self::to) or [`limit`](Self::limit) nobody knows how many nodes there are, so
/// that every call takes its whole time. With [`to`](Self::to) a call ends as soon as all named
/// nodes have answered, and [`Answers::missing`] has those that did not. Names are claims: whoever
/// may publish to the broker can answer under any.
#[must_use = "a command is sent by `call` or `cast`"]
pub struct CeleryCommand<T> {
    command: Command,
    decode: fn(&Reply) -> Result<T, ReplyError>,
}

impl<T: DeserializeOwned> CeleryCommand<T> {
    /// Returns a command whose answers are values.
    pub(super) fn of_values(command: Command) -> Self {
        CeleryCommand { command, decode: Reply::decode }
    }

    /// Returns a command whose answers are of the form `{"ok": value}`.
    pub(super) fn of_ok(command: Command) -> Self {
        CeleryCommand { command, decode: Reply::ok }
    }
}

impl<T> CeleryCommand<T> {
    /// Returns a command with answers that need a conversion.
    pub(super) fn decoded(command: Command, decode: fn(&Reply) -> Result<T, ReplyError>) -> Self {
        CeleryCommand { command, decode }
    }

    /// Sends it to the nodes of these names only, and to nobody without any; see [`Command::to`].
    pub fn to<N: Into<String>>(mut self, nodes: impl IntoIterator<Item = N>) -> Self {
        self.command = self.command.to(nodes);
        self
    }

    /// Sends it to the nodes whose names fit a pattern; see [`Command::matching`].
    ///
    /// # Errors
    /// As [`Command::matching`].
    pub fn matching(mut self, matcher: Matcher, pattern: impl Into<String>) -> Result<Self, Error> {
        self.command = self.command.matching(matcher, pattern)?;
        Ok(self)
    }

    /// Sets the time for the whole call; default 1 s.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.command = self.command.timeout(timeout);
        self
    }

    /// Ends the call after so many answers. Default: without limit.
    pub fn limit(mut self, answers: usize) -> Self {
        self.command = self.command.limit(answers);
        self
    }

    /// Sends the command, and returns the answers when the call has ended.
    ///
    /// # Errors
    /// When the command cannot be sent; see [`Command::call`].
    ///
    /// # Cancel safety
    /// When the future is dropped the command may or may not be sent.
    pub async fn call(self) -> Result<Answers<T>, Error> {
        let decode = self.decode;
        let mut replies = self.replies().await?;
        let mut answers = Answers { by_node: BTreeMap::new(), unreadable: Vec::new(), missing: Vec::new() };
        while let Some(reply) = replies.recv().await {
            match reply {
                Ok(reply) => {
                    let answer = decode(&reply);
                    answers.by_node.insert(reply.into_parts().0, answer);
                }
                Err(error) => answers.unreadable.push(error),
            }
        }
        answers.missing.extend(replies.missing().map(str::to_owned));
        answers.missing.sort();
        Ok(answers)
    }

    /// Sends the command, and returns the replies as they arrive, undecoded.
    ///
    /// # Errors
    /// When the command cannot be sent; see [`Command::call`].
    ///
    /// # Cancel safety
    /// When the future is dropped the command may or may not be sent.
    pub async fn replies(self) -> Result<Replies, Error> {
        self.command.call().await
    }

    /// Sends the command, and wants no answers.
    ///
    /// # Errors
    /// When the command cannot be sent; see [`Command::cast`].
    ///
    /// # Cancel safety
    /// When the future is dropped the command may or may not be sent.
    pub async fn cast(self) -> Result<(), Error> {
        self.command.cast().await
    }
}

impl<T> fmt::Debug for CeleryCommand<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CeleryCommand").field(&self.command).finish()
    }
}

/// The answers to a command.
#[derive(Debug)]
#[non_exhaustive]
pub struct Answers<T> {
    /// The answers of the nodes by their names: a value, or why there is none.
    pub by_node: BTreeMap<String, Result<T, ReplyError>>,
    /// Replies that do not say which node they are of.
    pub unreadable: Vec<ReplyError>,
    /// The nodes that the command named and that did not answer, in alphabetical order.
    pub missing: Vec<String>,
}

impl<T> Answers<T> {
    /// Returns the answer of a node, if it gave one that could be decoded.
    #[must_use]
    pub fn of(&self, node: &str) -> Option<&T> {
        self.by_node.get(node)?.as_ref().ok()
    }
}
