//! What one message says of itself, and needs.

use std::time::Duration;

use amqp_client::{Exchange, Message, Properties, Queue, Value};
use amqp_codec::ShortString;
use serde::Serialize;

use crate::{
    compress::{self, Compression},
    connection::entity::Entities,
    error::Error,
    publish::json_message::json_message,
    serialize::{self, Serialized, Serializers},
};

/// What one message says of itself, and needs, beside its body. Made once, it can be used for many.
///
/// ```
/// use std::time::Duration;
/// use messaging::{Exchange, PublishOptions, Queue, Transport};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), messaging::Error> {
/// let transport = Transport::connect("memory://publish-options").await?;
/// let mails = Queue::new("mails").max_priority(9);
/// let urgent = PublishOptions::new().priority(9).expiration(Duration::from_secs(60)).declare_queue(&mails);
/// transport.producer(Exchange::default()).ensure_publish_with("mails", "hello", &urgent).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct PublishOptions {
    properties: Properties,
    expires: Option<Duration>,
    transient: bool,
    serializer: Option<String>,
    compression: Option<Compression>,
    pub(crate) mandatory: Option<bool>,
    pub(crate) entities: Entities,
    /// All of the entities in words, which tells them from others.
    pub(crate) definition: String,
}

impl PublishOptions {
    /// A persistent message of priority 0 that needs nothing but its exchange.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// 0 to 9, or to the queue's `x-max-priority`; higher is sooner. Default 0.
    #[must_use]
    pub fn priority(mut self, priority: u8) -> Self {
        self.properties.priority = Some(priority);
        self
    }

    /// How long it may wait in a queue, in whole milliseconds. Default: for ever.
    #[must_use]
    pub fn expiration(mut self, expires: Duration) -> Self {
        self.expires = Some(expires);
        self
    }

    /// It need not outlive a restart of the broker (delivery mode 1). Default: it is persistent.
    #[must_use]
    pub fn transient(mut self) -> Self {
        self.transient = true;
        self
    }

    /// The serializer, by name: `json`, `msgpack`, `text`, `raw`, or one that was
    /// [registered](crate::Producer::serializers). Default `json`.
    #[must_use]
    pub fn serializer(mut self, name: impl Into<String>) -> Self {
        self.serializer = Some(name.into());
        self
    }

    /// Compresses the body, as kombu does. Worth it for large ones. Default: it is not compressed.
    #[must_use]
    pub fn compression(mut self, compression: Compression) -> Self {
        self.compression = Some(compression);
        self
    }

    /// Tells whether it is an error when no queue takes it, whatever the producer says. Default: as
    /// the [producer](crate::Producer::mandatory) says.
    #[must_use]
    pub fn mandatory(mut self, mandatory: bool) -> Self {
        self.mandatory = Some(mandatory);
        self
    }

    /// A header of the application's.
    ///
    /// # Errors
    /// For a key over 255 bytes, or nesting over 32.
    pub fn header(mut self, key: &str, value: impl Into<Value>) -> Result<Self, Error> {
        let headers = self.properties.headers.get_or_insert_default();
        let inserted = headers.insert(key, value).map_err(amqp_client::Error::Invalid);
        inserted.map_err(Error::broker(format_args!("set the header {key:?}")))?;
        Ok(self)
    }

    /// What it answers, or what its answer shall carry.
    ///
    /// # Errors
    /// Over 255 bytes; so with the next ones.
    pub fn correlation_id(mut self, id: &str) -> Result<Self, Error> {
        self.properties.correlation_id = Some(short("correlation_id", id)?);
        Ok(self)
    }

    /// Where its answer shall go: a queue's name, by custom.
    ///
    /// # Errors
    /// Over 255 bytes.
    pub fn reply_to(mut self, queue: &str) -> Result<Self, Error> {
        self.properties.reply_to = Some(short("reply_to", queue)?);
        Ok(self)
    }

    /// An id of its own.
    ///
    /// # Errors
    /// Over 255 bytes.
    pub fn message_id(mut self, id: &str) -> Result<Self, Error> {
        self.properties.message_id = Some(short("message_id", id)?);
        Ok(self)
    }

    /// What kind of message it is.
    ///
    /// # Errors
    /// Over 255 bytes.
    pub fn kind(mut self, kind: &str) -> Result<Self, Error> {
        self.properties.kind = Some(short("type", kind)?);
        Ok(self)
    }

    /// Which application sent it.
    ///
    /// # Errors
    /// Over 255 bytes.
    pub fn app_id(mut self, id: &str) -> Result<Self, Error> {
        self.properties.app_id = Some(short("app_id", id)?);
        Ok(self)
    }

    /// Who sent it: the user of the connection, or the broker refuses it.
    ///
    /// # Errors
    /// Over 255 bytes.
    pub fn user_id(mut self, id: &str) -> Result<Self, Error> {
        self.properties.user_id = Some(short("user_id", id)?);
        Ok(self)
    }

    /// When it was made, in seconds since 1970-01-01 UTC.
    #[must_use]
    pub fn timestamp(mut self, seconds: u64) -> Self {
        self.properties.timestamp = Some(seconds);
        self
    }

    /// A queue that has to be there: declared once a connection, and again when it seems to be
    /// gone.
    #[must_use]
    pub fn declare_queue(mut self, queue: &Queue) -> Self {
        self.entities.queues.push(queue.clone());
        self.define()
    }

    /// An exchange that has to be there, beside the producer's.
    #[must_use]
    pub fn declare_exchange(mut self, exchange: &Exchange) -> Self {
        self.entities.exchanges.push(exchange.clone());
        self.define()
    }

    /// A queue that has to be there, bound to an exchange that has to be there.
    #[must_use]
    pub fn bind(mut self, queue: &Queue, exchange: &Exchange, routing_key: impl Into<String>) -> Self {
        self.entities.bind(queue, exchange, routing_key.into());
        self.define()
    }

    fn define(mut self) -> Self {
        self.definition = format!("{:?}", self.entities);
        self
    }

    /// The message with this body.
    pub(crate) fn message<T: Serialize + ?Sized>(
        &self,
        body: &T,
        serializers: &Serializers,
    ) -> Result<Message, Error> {
        let mut message = match &self.serializer {
            Some(name) => self.serialized(serializers.encode(name, body)?),
            None => {
                let json = serialize::to_json(body);
                let json = json.map_err(|source| Error::Encode { what: "a message", source })?;
                json_message(json, self.expires)
            }
        };
        let properties = message.properties_mut();
        let own = self.properties.clone();
        *properties = Properties {
            headers: own.headers.or(properties.headers.take()),
            priority: own.priority.or(properties.priority),
            content_type: properties.content_type.take(),
            content_encoding: properties.content_encoding.take(),
            delivery_mode: if self.transient { Some(TRANSIENT) } else { properties.delivery_mode },
            expiration: properties.expiration.take(),
            ..own
        };
        compressed(message, self.compression)
    }

    fn serialized(&self, serialized: Serialized) -> Message {
        let Serialized { content_type, content_encoding, body, .. } = serialized;
        let mut message = json_message(body, self.expires);
        let properties = message.properties_mut();
        properties.content_type = Some(content_type);
        properties.content_encoding = Some(content_encoding);
        message
    }
}

/// A message with its body compressed, and a header that says so; without a compression as it is.
pub(crate) fn compressed(mut message: Message, compression: Option<Compression>) -> Result<Message, Error> {
    let Some(compression) = compression else { return Ok(message) };
    *message.body_mut() = compression.compress(message.body())?;
    let headers = message.properties_mut().headers.get_or_insert_default();
    let inserted = headers.insert(compress::HEADER, compression.content_type());
    inserted.map_err(amqp_client::Error::Invalid).map_err(Error::broker("name the compression"))?;
    Ok(message)
}

/// The delivery mode of what need not be kept.
const TRANSIENT: u8 = 1;

fn short(what: &'static str, text: &str) -> Result<ShortString, Error> {
    let short = ShortString::new(what, text).map_err(amqp_client::Error::Invalid);
    short.map_err(Error::broker(format_args!("set the property {what}")))
}
