//! The method of a transport for Celery's remote control.

use std::time::Duration;

use crate::{celery::remote::control::Control, mailbox::Kind, transport::Transport};

/// Celery's `control_exchange`.
const NAMESPACE: &str = "celery";

/// Celery's `control_queue_ttl`.
const QUEUE_TTL: Duration = Duration::from_secs(300);

/// Celery's `control_queue_expires`.
const QUEUE_EXPIRES: Duration = Duration::from_secs(10);

impl Transport {
    /// Returns Celery's remote control, with the settings that Celery has by default: the namespace
    /// `celery`, commands that expire after 300 s. For others see [`Control::new`].
    #[must_use]
    pub fn celery(&self) -> Control {
        let mailbox = self
            .mailbox(NAMESPACE)
            .kind(Kind::Fanout)
            .queue_ttl(QUEUE_TTL)
            .queue_expires(QUEUE_EXPIRES)
            .reply_queue_ttl(QUEUE_TTL)
            .reply_queue_expires(Some(QUEUE_EXPIRES))
            .open();
        Control::new(self, mailbox)
    }
}
