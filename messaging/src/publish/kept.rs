//! A message as a publish in flight keeps it.

use std::mem;

use amqp_client::Message;
use bytes::Bytes;

use crate::publish::json_message::json_message;

/// A message that is kept until the broker has it, in case it must be published again.
///
/// Thousands of publishes are in flight at once, and a whole message takes more room than all else
/// they keep.
pub(crate) enum Kept<'a> {
    /// The body of a [`json_message`] without a time to live.
    Json(Bytes),
    /// A message with other properties.
    Made(Box<Message>),
    /// A message that the caller keeps.
    Borrowed(&'a Message),
}

impl Kept<'_> {
    /// Returns what `read` returns for the message.
    pub(crate) fn with<T>(&mut self, read: impl FnOnce(&Message) -> T) -> T {
        match self {
            Kept::Json(body) => {
                let mut message = json_message(mem::take(body), None);
                let result = read(&message);
                *body = mem::take(message.body_mut());
                result
            }
            Kept::Made(message) => read(message),
            Kept::Borrowed(message) => read(message),
        }
    }

    /// Returns a message that can be changed.
    pub(crate) fn into_made(self) -> Box<Message> {
        match self {
            Kept::Made(message) => message,
            other => Box::new(other.into_message()),
        }
    }

    /// Returns the whole message.
    pub(crate) fn into_message(self) -> Message {
        match self {
            Kept::Json(body) => json_message(body, None),
            Kept::Made(message) => *message,
            Kept::Borrowed(message) => message.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_message_is_read_and_returned_whole() {
        let message = json_message(Bytes::from_static(b"{}"), None);
        let kept = [
            Kept::Json(message.body().clone()),
            Kept::Made(Box::new(message.clone())),
            Kept::Borrowed(&message),
        ];
        for mut kept in kept {
            assert_eq!(kept.with(Message::clone), message);
            assert_eq!(kept.into_message(), message);
        }
        assert!(size_of::<Kept<'_>>() * 8 < size_of::<Message>());
    }
}
