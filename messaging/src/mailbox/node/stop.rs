//! The request to stop a node, which a handler may make before the node has started completely.

use std::sync::OnceLock;

use crate::consume::service::Stopper;
use crate::sync::atomic::{AtomicBool, Ordering::SeqCst};

#[derive(Debug, Default)]
pub(super) struct Stop {
    is_requested: AtomicBool,
    stopper: OnceLock<Stopper>,
}

impl Stop {
    /// Makes the node take no more commands and finish those in progress.
    pub(super) fn request(&self) {
        self.is_requested.store(true, SeqCst);
        if let Some(stopper) = self.stopper.get() {
            stopper.stop();
        }
    }

    /// Sets what stops the node, and stops it if that was requested before.
    pub(super) fn started(&self, stopper: Stopper) {
        let stopper = self.stopper.get_or_init(|| stopper);
        if self.is_requested.load(SeqCst) {
            stopper.stop();
        }
    }
}
