//! Messages that died in the operation under way, until they are published anew.

use std::collections::VecDeque;

use super::{death::Reason, ids::QueueId, message::Message};

/// A message that died, on its way to its queue's dead-letter exchange.
#[derive(Debug)]
pub(crate) struct Dead {
    pub(crate) message: Message,
    pub(crate) queue: QueueId,
    pub(crate) reason: Reason,
}

/// Messages that died, in the order in which they did.
pub(crate) type Graveyard = VecDeque<Dead>;
