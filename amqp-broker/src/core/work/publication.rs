//! A message on its way into queues.

use crate::core::{
    content::message::{Draft, Message, Origin, Parts},
    entities::queue::MessageTerms,
};

/// A message on its way into queues: stored when the first of them has to keep it, and once for
/// all.
pub(crate) struct Publication<'a> {
    pub(crate) draft: &'a mut Draft,
    pub(crate) stored: &'a mut Option<Message>,
    pub(crate) terms: MessageTerms,
    /// Whether it is to survive the process, where its queues do.
    pub(crate) is_persistent: bool,
    /// Whether it goes to several queues.
    pub(crate) is_shared: bool,
    pub(crate) is_letter: bool,
    /// What a dead letter comes of, where that counts.
    pub(crate) origin: Option<Origin>,
}

impl Publication<'_> {
    /// The stored message.
    #[inline]
    pub(crate) fn message(&mut self) -> Message {
        let Publication { draft, stored, is_shared, origin, .. } = self;
        // One queue has it alone.
        if !*is_shared && stored.is_none() {
            return draft.message(false, origin.clone());
        }
        stored.get_or_insert_with(|| draft.message(*is_shared, origin.clone())).clone()
    }

    #[inline]
    pub(crate) fn parts(&self) -> Parts<'_> {
        match &self.stored {
            Some(message) => message.parts(),
            None => self.draft.parts(),
        }
    }

    /// How many octets of it are copied where it is delivered.
    #[inline]
    pub(crate) fn copied(&self) -> usize {
        let parts = self.parts();
        parts.header.len() + parts.small.len()
    }

    /// Length of the body in bytes.
    pub(crate) fn body_len(&self) -> usize {
        self.parts().body_len()
    }
}
