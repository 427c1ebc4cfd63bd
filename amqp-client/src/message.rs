//! A message to publish.

use amqp_codec::{EncodedProperties, Error as CodecError, PERSISTENT, Properties, ShortString, Table};
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
    /// The encoded properties of a message that is passed on, which replace the others. They are
    /// boxed, because a message is moved several times.
    encoded: Option<Box<EncodedProperties>>,
}

impl Message {
    /// With this body and no properties: a transient message.
    #[inline]
    pub fn new(body: impl Into<Bytes>) -> Self {
        // The body comes first: a conversion that may panic would force the compiler to build the
        // rest elsewhere and move it.
        let body = body.into();
        Message { body, properties: Properties::default(), encoded: None }
    }

    /// With this body and these properties.
    #[inline]
    pub fn with_properties(body: impl Into<Bytes>, properties: Properties) -> Self {
        let body = body.into();
        Message { body, properties, encoded: None }
    }

    /// With this body, and properties that are passed on as the bytes they are: they are neither
    /// read nor checked, and may be such as cannot be read here. [`properties`](Self::properties)
    /// are empty; what is set later takes the place of all of them.
    pub fn with_encoded_properties(body: impl Into<Bytes>, properties: EncodedProperties) -> Self {
        Message { encoded: Some(Box::new(properties)), ..Message::new(body) }
    }

    /// Kept by durable queues through a restart of the broker (delivery mode 2).
    #[inline]
    pub fn persistent(mut self) -> Self {
        self.properties_mut().delivery_mode = Some(PERSISTENT);
        self
    }

    /// MIME type of the body; a literal, kept without allocating. For other text set
    /// [`properties_mut`](Self::properties_mut).
    ///
    /// # Panics
    /// When the literal is longer than 255 bytes.
    #[inline]
    pub fn content_type(mut self, mime: &'static str) -> Self {
        self.properties_mut().content_type = Some(ShortString::from_static(mime));
        self
    }

    /// The application's headers.
    #[inline]
    pub fn headers(mut self, headers: Table) -> Self {
        self.properties_mut().headers = Some(headers);
        self
    }

    /// 0 to 9, or to the queue's `x-max-priority`; higher is sooner.
    #[inline]
    pub fn priority(mut self, priority: u8) -> Self {
        self.properties_mut().priority = Some(priority);
        self
    }

    /// What this answers, or what the answer shall carry.
    ///
    /// # Errors
    /// [`Error::Invalid`] over 255 bytes.
    pub fn correlation_id(mut self, id: &str) -> Result<Self> {
        self.properties_mut().correlation_id = Some(short("correlation_id", id)?);
        Ok(self)
    }

    /// Where the answer goes: a queue name, by custom.
    ///
    /// # Errors
    /// [`Error::Invalid`] over 255 bytes.
    pub fn reply_to(mut self, queue: &str) -> Result<Self> {
        self.properties_mut().reply_to = Some(short("reply_to", queue)?);
        Ok(self)
    }

    /// The message's own id.
    ///
    /// # Errors
    /// [`Error::Invalid`] over 255 bytes.
    pub fn message_id(mut self, id: &str) -> Result<Self> {
        self.properties_mut().message_id = Some(short("message_id", id)?);
        Ok(self)
    }

    /// The body.
    #[inline]
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The body, to put another one in its place and use the properties again.
    pub fn body_mut(&mut self) -> &mut Bytes {
        &mut self.body
    }

    /// All properties.
    #[inline]
    pub fn properties(&self) -> &Properties {
        &self.properties
    }

    /// The properties that are passed on as bytes, when they are.
    #[inline]
    pub fn encoded_properties(&self) -> Option<&EncodedProperties> {
        self.encoded.as_deref()
    }

    /// All properties, to change any of them.
    #[inline]
    pub fn properties_mut(&mut self) -> &mut Properties {
        if let Some(encoded) = self.encoded.take() {
            forget(encoded);
        }
        &mut self.properties
    }
}

/// Frees the encoded properties. This is rare, and a separate function that does not take the
/// message, so that inlined setters, which never expose its address, write into it in place instead
/// of copying it.
#[cold]
fn forget(_: Box<EncodedProperties>) {}

fn short(what: &'static str, text: &str) -> Result<ShortString, Error> {
    ShortString::new(what, text).map_err(|error: CodecError| Error::Invalid(error))
}
