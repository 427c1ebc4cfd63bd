//! A message to publish.

use amqp_codec::{Error as CodecError, PERSISTENT, Properties, ShortString, Table};
use bytes::Bytes;

use crate::error::{Error, Result};

/// A body with its properties.
///
/// Cloning shares the body. Publishing by reference allocates nothing.
///
/// ```
/// use amqp_client::Message;
///
/// let message = Message::new("{}").persistent().content_type("application/json");
/// assert_eq!(message.body(), "{}");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    body: Bytes,
    properties: Properties,
}

impl Message {
    /// With this body and no properties: a transient message.
    pub fn new(body: impl Into<Bytes>) -> Self {
        Message { body: body.into(), properties: Properties::default() }
    }

    /// With this body and these properties.
    pub fn with_properties(body: impl Into<Bytes>, properties: Properties) -> Self {
        Message { body: body.into(), properties }
    }

    /// Kept by durable queues through a restart of the broker (delivery mode 2).
    pub fn persistent(mut self) -> Self {
        self.properties.delivery_mode = Some(PERSISTENT);
        self
    }

    /// MIME type of the body; a literal, kept without allocating. For other text set [`properties_mut`](Self::properties_mut).
    ///
    /// # Panics
    /// When the literal is longer than 255 bytes.
    pub fn content_type(mut self, mime: &'static str) -> Self {
        self.properties.content_type = Some(ShortString::from_static(mime));
        self
    }

    /// The application's headers.
    pub fn headers(mut self, headers: Table) -> Self {
        self.properties.headers = Some(headers);
        self
    }

    /// 0 to 9, or to the queue's `x-max-priority`; higher is sooner.
    pub fn priority(mut self, priority: u8) -> Self {
        self.properties.priority = Some(priority);
        self
    }

    /// What this answers, or what the answer shall carry.
    ///
    /// # Errors
    /// [`Error::Invalid`] over 255 bytes.
    pub fn correlation_id(mut self, id: &str) -> Result<Self> {
        self.properties.correlation_id = Some(short("correlation_id", id)?);
        Ok(self)
    }

    /// Where the answer goes: a queue name, by custom.
    ///
    /// # Errors
    /// [`Error::Invalid`] over 255 bytes.
    pub fn reply_to(mut self, queue: &str) -> Result<Self> {
        self.properties.reply_to = Some(short("reply_to", queue)?);
        Ok(self)
    }

    /// The message's own id.
    ///
    /// # Errors
    /// [`Error::Invalid`] over 255 bytes.
    pub fn message_id(mut self, id: &str) -> Result<Self> {
        self.properties.message_id = Some(short("message_id", id)?);
        Ok(self)
    }

    /// The body.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The body, to put another one in its place and use the properties again.
    pub fn body_mut(&mut self) -> &mut Bytes {
        &mut self.body
    }

    /// All properties.
    pub fn properties(&self) -> &Properties {
        &self.properties
    }

    /// All properties, to change any of them.
    pub fn properties_mut(&mut self) -> &mut Properties {
        &mut self.properties
    }
}

fn short(what: &'static str, text: &str) -> Result<ShortString, Error> {
    ShortString::new(what, text).map_err(|error: CodecError| Error::Invalid(error))
}
