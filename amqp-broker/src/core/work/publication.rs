//! A message on its way into queues.

use crate::core::{
    content::message::{Draft, Message, Origin, Parts},
    entities::queue::MessageTerms,
};

/// A message on its way into queues. It is stored when the first queue has to keep it, once for all
/// queues.
pub(crate) struct Publication<'a> {
    pub(crate) draft: &'a mut Draft,
    pub(crate) stored: &'a mut Option<Message>,
    pub(crate) terms: MessageTerms,
    /// Whether it is persistent in durable queues.
    pub(crate) is_persistent: bool,
    /// Whether it goes to several queues.
    pub(crate) is_shared: bool,
    pub(crate) is_letter: bool,
    /// The origin of a dead letter, if it is one that counts.
    pub(crate) origin: Option<Origin>,
}

impl Publication<'_> {
    /// The message in its stored form.
    #[inline]
    pub(crate) fn message(&mut self) -> Message {
        let Publication { draft, stored, is_shared, origin, .. } = self;
        // A message for one queue is moved and not shared.
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

    /// How many octets a delivery of it copies.
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
