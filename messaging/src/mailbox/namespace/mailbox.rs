//! A mailbox: the namespace that nodes and callers share.

use std::{fmt, sync::Arc};

use tokio::sync::Mutex;

use crate::{
    error::Error,
    mailbox::namespace::{metrics::MailboxMetrics, namespace::Namespace, reply_queue::ReplyQueue},
};

/// A namespace of nodes and their callers. Cloning gives another handle to it.
///
/// The calls of a mailbox share one reply queue, which is declared by the first of them. Its nodes
/// and commands share a Lamport clock.
#[derive(Clone)]
pub struct Mailbox {
    pub(crate) namespace: Arc<Namespace>,
    /// The reply queue that calls share, once there is one.
    reply_queue: Arc<Mutex<Option<Arc<ReplyQueue>>>>,
}

impl Mailbox {
    pub(super) fn new(namespace: Namespace) -> Self {
        Mailbox { namespace: Arc::new(namespace), reply_queue: Arc::default() }
    }

    /// Returns the namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace.name
    }

    /// Returns the present logical time, which nodes and commands share.
    #[must_use]
    pub fn clock(&self) -> u64 {
        self.namespace.clock.now()
    }

    /// Returns counts of what the mailbox has done so far.
    #[must_use]
    pub fn metrics(&self) -> MailboxMetrics {
        self.namespace.counters.read()
    }

    /// Returns the reply queue that calls share; the first call declares it.
    pub(crate) async fn shared_reply_queue(&self) -> Result<Arc<ReplyQueue>, Error> {
        let mut shared = self.reply_queue.lock().await;
        if let Some(queue) = shared.as_ref().filter(|queue| !queue.has_ended()) {
            return Ok(queue.clone());
        }
        let queue = ReplyQueue::start(&self.namespace, false).await?;
        *shared = Some(queue.clone());
        Ok(queue)
    }
}

impl fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailbox").field("namespace", &self.namespace.name).finish_non_exhaustive()
    }
}
