//! A message on its way into queues.

use super::{
    message::{Draft, MESSAGE_OVERHEAD, Message, Parts},
    queue::Terms,
};

/// A message on its way into queues: stored when the first of them has to keep it, and once for all.
pub(crate) struct Publication<'a> {
    pub(crate) draft: &'a mut Draft,
    pub(crate) stored: Option<Message>,
    pub(crate) terms: Terms,
    /// Whether it is to survive the process, where its queues do.
    pub(crate) is_persistent: bool,
}

impl Publication<'_> {
    /// The stored message.
    #[inline]
    pub(crate) fn message(&mut self) -> Message {
        self.stored.get_or_insert_with(|| self.draft.message()).clone()
    }

    #[inline]
    pub(crate) fn parts(&self) -> Parts<'_> {
        match &self.stored {
            Some(message) => message.parts(),
            None => self.draft.parts(),
        }
    }

    /// Length of the body in bytes.
    pub(crate) fn body_len(&self) -> usize {
        self.parts().body_len()
    }

    /// How much memory it takes in a queue, near enough.
    #[inline]
    pub(crate) fn held(&self) -> u64 {
        MESSAGE_OVERHEAD + self.parts().weight()
    }
}
