//! The properties of one message, and the entities it needs.

use std::time::Duration;

use amqp_client::{Exchange, Message, Properties, Queue, Value};
use amqp_codec::ShortString;
use serde::Serialize;

use crate::{
    compress::{self, Compression},
    connection::{
        binding::BindingKey,
        entity::{Entities, Entity},
    },
    error::Error,
    publish::json_message::json_message,
    serialize::{self, Serialized, Serializers},
};

/// The properties of one message, and the entities it needs, without its body. One value can be
/// used for many messages.
///
/// ```
/// use std::time::Duration;
/// use messaging::{Exchange, PublishOptions, Queue, Transport};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), messaging::Error> {
/// let transport = Transport::connect("memory://publish-options").await?;
/// let mails = Queue::new("mails").max_priority(9);
/// let urgent = PublishOptions::new()
///     .priority(9)
///     .expiration(Duration::from_secs(60))
///     .declare(&mails);
/// transport.producer(Exchange::default()).ensure_publish(("mails", &urgent), "hello").await?;
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
    /// A text that describes all of the entities, and so identifies them.
    pub(crate) definition: String,
}

impl PublishOptions {
    /// Returns options for a persistent message of priority 0 that needs only its exchange.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the priority: 0 to 9, or to the queue's `x-max-priority`. Higher priorities are
    /// delivered first. Default 0.
    #[must_use]
    pub fn priority(mut self, priority: u8) -> Self {
        self.properties.priority = Some(priority);
        self
    }

    /// Sets how long the message may wait in a queue, in whole milliseconds. Default: without
    /// limit.
    #[must_use]
    pub fn expiration(mut self, expires: Duration) -> Self {
        self.expires = Some(expires);
        self
    }

    /// Makes the message transient (delivery mode 1): it may be lost when the broker restarts.
    /// Default: it is persistent.
    #[must_use]
    pub fn transient(mut self) -> Self {
        self.transient = true;
        self
    }

    /// Sets the serializer, by name: `json`, `msgpack`, `text`, `raw`, or one that was
    /// [registered](crate::Producer::serializers). Default `json`.
    #[must_use]
    pub fn serializer(mut self, name: impl Into<String>) -> Self {
        self.serializer = Some(name.into());
        self
    }

    /// Compresses the body, as kombu does. This pays off for large bodies. Default: it is not
    /// compressed.
    #[must_use]
    pub fn compression(mut self, compression: Compression) -> Self {
        self.compression = Some(compression);
        self
    }

    /// Sets whether it is an error when the message reaches no queue, whatever the producer's
    /// setting. Default: the [producer's](crate::Producer::mandatory) setting.
    #[must_use]
    pub fn mandatory(mut self, mandatory: bool) -> Self {
        self.mandatory = Some(mandatory);
        self
    }

    /// Adds a header of the application.
    ///
    /// # Errors
    /// For a key over 255 bytes, or nesting over 32.
    pub fn header(mut self, key: &str, value: impl Into<Value>) -> Result<Self, Error> {
        let headers = self.properties.headers.get_or_insert_default();
        let inserted = headers.insert(key, value).map_err(amqp_client::Error::Invalid);
        inserted.map_err(Error::broker(format_args!("set the header {key:?}")))?;
        Ok(self)
    }

    /// Sets the id of the request that this message answers, or that its answer is to carry.
    ///
    /// # Errors
    /// For more than 255 bytes.
    pub fn correlation_id(mut self, id: &str) -> Result<Self, Error> {
        self.properties.correlation_id = Some(short("correlation_id", id)?);
        Ok(self)
    }

    /// Sets where answers are to be sent; by convention this is a queue's name.
    ///
    /// # Errors
    /// For more than 255 bytes.
    pub fn reply_to(mut self, queue: &str) -> Result<Self, Error> {
        self.properties.reply_to = Some(short("reply_to", queue)?);
        Ok(self)
    }

    /// Sets the message's own id.
    ///
    /// # Errors
    /// For more than 255 bytes.
    pub fn message_id(mut self, id: &str) -> Result<Self, Error> {
        self.properties.message_id = Some(short("message_id", id)?);
        Ok(self)
    }

    /// Sets the kind of message.
    ///
    /// # Errors
    /// For more than 255 bytes.
    pub fn kind(mut self, kind: &str) -> Result<Self, Error> {
        self.properties.kind = Some(short("type", kind)?);
        Ok(self)
    }

    /// Sets the name of the application that sends the message.
    ///
    /// # Errors
    /// For more than 255 bytes.
    pub fn app_id(mut self, id: &str) -> Result<Self, Error> {
        self.properties.app_id = Some(short("app_id", id)?);
        Ok(self)
    }

    /// Sets the sender. The broker refuses a message whose sender is not the user of the
    /// connection.
    ///
    /// # Errors
    /// For more than 255 bytes.
    pub fn user_id(mut self, id: &str) -> Result<Self, Error> {
        self.properties.user_id = Some(short("user_id", id)?);
        Ok(self)
    }

    /// Sets when the message was made, in seconds since 1970-01-01 UTC.
    #[must_use]
    pub fn timestamp(mut self, seconds: u64) -> Self {
        self.properties.timestamp = Some(seconds);
        self
    }

    /// Requires a queue, or an exchange besides the producer's: it is declared once per connection,
    /// and again when it seems to be gone.
    #[must_use]
    pub fn declare(mut self, entity: impl Into<Entity>) -> Self {
        self.entities.add(entity.into());
        self.define()
    }

    /// Requires a queue that is bound to an exchange, by a routing key or by arguments, and the
    /// exchange.
    #[must_use]
    pub fn bind(mut self, queue: &Queue, exchange: &Exchange, key: impl Into<BindingKey>) -> Self {
        self.entities.bind(queue, exchange, key.into());
        self.define()
    }

    fn define(mut self) -> Self {
        self.definition = format!("{:?}", self.entities);
        self
    }

    /// Returns the message with this body.
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

/// Compresses the message's body and sets the header that says so. Without a compression the
/// message stays unchanged.
pub(crate) fn compressed(mut message: Message, compression: Option<Compression>) -> Result<Message, Error> {
    let Some(compression) = compression else { return Ok(message) };
    *message.body_mut() = compression.compress(message.body())?;
    let headers = message.properties_mut().headers.get_or_insert_default();
    let inserted = headers.insert(compress::HEADER, compression.content_type());
    inserted.map_err(amqp_client::Error::Invalid).map_err(Error::broker("set the compression header"))?;
    Ok(message)
}

/// The delivery mode of transient messages.
const TRANSIENT: u8 = 1;

fn short(what: &'static str, text: &str) -> Result<ShortString, Error> {
    let short = ShortString::new(what, text).map_err(amqp_client::Error::Invalid);
    short.map_err(Error::broker(format_args!("set the property {what}")))
}
