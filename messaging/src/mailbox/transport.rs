//! The method of a transport that opens mailboxes.

use crate::{mailbox::namespace::builder::MailboxBuilder, transport::Transport};

impl Transport {
    /// Returns the builder of a mailbox of this namespace; Celery's is `celery`.
    /// [`MailboxBuilder::open`] opens it.
    pub fn mailbox(&self, namespace: &str) -> MailboxBuilder {
        MailboxBuilder::new(self, namespace)
    }
}
