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
    /// Makes a message with this body and no properties, which is transient.
    #[inline]
    pub fn new(body: impl Into<Bytes>) -> Self {
        // The body comes first: a conversion that may panic would force the compiler to build the
        // rest elsewhere and move it.
        let body = body.into();
        Message { body, properties: Properties::default(), encoded: None }
    }

    /// Makes a message with this body and these properties.
    #[inline]
    pub fn with_properties(body: impl Into<Bytes>, properties: Properties) -> Self {
        let body = body.into();
        Message { body, properties, encoded: None }
    }

    /// Makes a message with this body, and properties that are passed on as encoded bytes: they are
    /// neither read nor checked, so they may even be malformed. [`properties`](Self::properties)
    /// are empty, and any property that is set later replaces all of the encoded ones.
    pub fn with_encoded_properties(body: impl Into<Bytes>, properties: EncodedProperties) -> Self {
        Message { encoded: Some(Box::new(properties)), ..Message::new(body) }
    }

    /// Makes the message persistent (delivery mode 2): durable queues keep it through a restart of
    /// the broker.
    #[inline]
    pub fn persistent(mut self) -> Self {
        self.properties_mut().delivery_mode = Some(PERSISTENT);
        self
    }

    /// Sets the MIME type of the body: a literal, which is kept without allocating. For other text
    /// use [`properties_mut`](Self::properties_mut).
    ///
    /// # Panics
    /// Panics if the literal is longer than 255 bytes.
    #[inline]
    pub fn content_type(mut self, mime: &'static str) -> Self {
        self.properties_mut().content_type = Some(ShortString::from_static(mime));
        self
    }

    /// Sets the application's headers.
    #[inline]
    pub fn headers(mut self, headers: Table) -> Self {
        self.properties_mut().headers = Some(headers);
        self
    }

    /// Sets the priority: 0 to 9, or to the queue's `x-max-priority`. Messages of higher priority
    /// are delivered first.
    #[inline]
    pub fn priority(mut self, priority: u8) -> Self {
        self.properties_mut().priority = Some(priority);
        self
    }

    /// Sets the correlation id, by which an answer is matched with its request.
    ///
    /// # Errors
    /// [`Error::Invalid`] over 255 bytes.
    pub fn correlation_id(mut self, id: &str) -> Result<Self> {
        self.properties_mut().correlation_id = Some(short("correlation_id", id)?);
        Ok(self)
    }

    /// Sets where the answer is to be sent: a queue name, by convention.
    ///
    /// # Errors
    /// [`Error::Invalid`] over 255 bytes.
    pub fn reply_to(mut self, queue: &str) -> Result<Self> {
        self.properties_mut().reply_to = Some(short("reply_to", queue)?);
        Ok(self)
    }

    /// Sets the message's own id.
    ///
    /// # Errors
    /// [`Error::Invalid`] over 255 bytes.
    pub fn message_id(mut self, id: &str) -> Result<Self> {
        self.properties_mut().message_id = Some(short("message_id", id)?);
        Ok(self)
    }

    /// Returns the body.
    #[inline]
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// Returns the body, so that it can be replaced while the properties stay.
    pub fn body_mut(&mut self) -> &mut Bytes {
        &mut self.body
    }

    /// Returns all properties.
    #[inline]
    pub fn properties(&self) -> &Properties {
        &self.properties
    }

    /// Returns the properties that are passed on as encoded bytes, if there are any.
    #[inline]
    pub fn encoded_properties(&self) -> Option<&EncodedProperties> {
        self.encoded.as_deref()
    }

    /// Returns all properties, so that they can be changed.
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
