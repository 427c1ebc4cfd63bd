//! The replies to a command.

use std::{
    collections::HashSet,
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use futures_core::Stream;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::mailbox::namespace::{
    mailbox::Mailbox, reply::Reply, reply_error::ReplyError, reply_queue::PendingCall,
};

/// The replies to one command, a [`Stream`] of them as they arrive. [`Command::call`] makes it.
///
/// A reply that cannot be read is an item of its own, and the others still arrive. The stream ends
/// when all nodes that the command names have answered, at the limit of replies, or at the
/// deadline, whichever is first.
///
/// # On drop
/// Replies that arrive later are dropped and counted.
///
/// [`Command::call`]: crate::mailbox::Command::call
#[must_use = "replies are received when the stream is polled"]
pub struct Replies {
    pending: Option<PendingCall>,
    deadline: Pin<Box<Sleep>>,
    left: Option<usize>,
    /// The named nodes that have not answered.
    missing: Option<HashSet<String>>,
    /// The mailbox, which keeps the shared reply queue.
    _mailbox: Mailbox,
}

impl Replies {
    pub(super) fn new(
        mailbox: Mailbox,
        pending: Option<PendingCall>,
        deadline: Instant,
        limit: Option<usize>,
        named: Option<HashSet<String>>,
    ) -> Self {
        let deadline = Box::pin(sleep_until(deadline));
        Replies { pending, deadline, left: limit, missing: named, _mailbox: mailbox }
    }

    /// Returns the next reply, or `None` after the end.
    ///
    /// # Errors
    /// A reply that cannot be read. Only after [`ReplyError::Ended`] no further ones arrive.
    ///
    /// # Cancel safety
    /// No reply is lost.
    pub async fn recv(&mut self) -> Option<Result<Reply, ReplyError>> {
        std::future::poll_fn(|context| self.poll_reply(context)).await
    }

    /// Returns the nodes that the command names and that have not answered so far, in no order.
    pub fn missing(&self) -> impl Iterator<Item = &str> {
        self.missing.iter().flatten().map(String::as_str)
    }

    fn poll_reply(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Reply, ReplyError>>> {
        let is_complete = self.left == Some(0) || self.missing.as_ref().is_some_and(HashSet::is_empty);
        let Some(pending) = self.pending.as_mut().filter(|_| !is_complete) else {
            return self.end();
        };
        // Replies that arrived before the deadline are handed out, however late that happens.
        if let Poll::Ready(next) = pending.poll_next(context) {
            let Some(next) = next else { return self.end() };
            self.left = self.left.map(|left| left.saturating_sub(1));
            if let (Some(missing), Ok(reply)) = (&mut self.missing, &next) {
                missing.remove(reply.node());
            }
            return Poll::Ready(Some(next));
        }
        match self.deadline.as_mut().poll(context) {
            Poll::Ready(()) => self.end(),
            Poll::Pending => Poll::Pending,
        }
    }

    fn end(&mut self) -> Poll<Option<Result<Reply, ReplyError>>> {
        self.pending = None;
        Poll::Ready(None)
    }
}

impl Stream for Replies {
    type Item = Result<Reply, ReplyError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_reply(context)
    }
}

impl fmt::Debug for Replies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replies").field("missing", &self.missing).finish_non_exhaustive()
    }
}
