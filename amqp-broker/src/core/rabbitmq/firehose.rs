//! The messages of RabbitMQ's firehose (<https://www.rabbitmq.com/docs/firehose>): copies with the
//! original's names and properties in their headers.

use amqp_codec::{
    Array, ContentHeader, EncodedProperties, Error, Properties, ShortString, Table, Value, method::basic,
};
use bytes::{Bytes, BytesMut};

use super::copies::Copies;
use crate::core::content::{
    message::{Draft, Parts},
    properties::Relevant,
};

/// The name of the node in copies, as in the management API.
const NODE: &str = "rabbit@localhost";

/// An event in the life of a message.
#[derive(Debug)]
pub(crate) enum What {
    /// It was published, and routed to these queues.
    Published { queues: Vec<ShortString> },
    /// It was delivered or fetched from this queue.
    Delivered { queue: ShortString, redelivered: bool },
}

/// A message that is traced.
#[derive(Debug)]
pub(crate) struct Traced<'a> {
    pub(crate) what: What,
    pub(crate) vhost: &'a str,
    /// The name of the connection that published or gets it.
    pub(crate) connection: &'a str,
    pub(crate) channel: u16,
    pub(crate) user: &'a str,
    pub(crate) parts: Parts<'a>,
}

impl Traced<'_> {
    /// Returns the copy, to be published to `exchange` with the key `publish.EXCHANGE` or
    /// `deliver.QUEUE`, which is cut off at 255 bytes.
    ///
    /// # Errors
    /// Properties that cannot be read, or that are nested too deep for a place in headers.
    pub(crate) fn draft(&self, exchange: &ShortString) -> Result<Draft, Error> {
        let (source, _) = self.parts.names();
        let (word, name) = match &self.what {
            What::Published { .. } => ("publish.", source),
            What::Delivered { queue, .. } => ("deliver.", queue.as_bytes()),
        };
        let mut key = [word.as_bytes(), name].concat();
        key.truncate(usize::from(u8::MAX));
        let properties = Properties { headers: Some(self.headers()?), ..Properties::default() };
        let mut encoded = BytesMut::new();
        properties.encode_into(&mut encoded)?;
        let mut header = BytesMut::new();
        let properties = EncodedProperties::from_encoded(encoded.freeze());
        let body_size = self.parts.body_len() as u64;
        ContentHeader { class_id: basic::CLASS_ID, body_size, properties }.encode(&mut header);
        let mut draft = Draft::default();
        draft.start(exchange.as_bytes(), &key);
        draft.header(&header);
        draft.small(self.parts.small);
        draft.large(self.parts.large.to_vec());
        Ok(draft)
    }

    fn headers(&self) -> Result<Table, Error> {
        let mut headers = Table::new();
        headers.insert("exchange_name", text(self.parts.names().0))?;
        headers.insert("routing_keys", self.routing_keys()?)?;
        headers.insert("properties", self.properties()?)?;
        headers.insert("node", text(NODE.as_bytes()))?;
        if let What::Delivered { redelivered, .. } = &self.what {
            headers.insert("redelivered", Value::I32((*redelivered).into()))?;
        }
        headers.insert("vhost", text(self.vhost.as_bytes()))?;
        headers.insert("connection", text(self.connection.as_bytes()))?;
        headers.insert("channel", Value::I32(self.channel.into()))?;
        headers.insert("user", text(self.user.as_bytes()))?;
        if let What::Published { queues } = &self.what {
            headers.insert("routed_queues", texts(queues.iter().map(ShortString::as_bytes))?)?;
        }
        Ok(headers)
    }

    /// The routing key, and those of `CC` and `BCC`.
    fn routing_keys(&self) -> Result<Array, Error> {
        let relevant = Relevant::find(self.parts.properties())?;
        let copies = Copies::read(&relevant).ok().flatten().map(|copies| copies.keys).unwrap_or_default();
        let first = std::iter::once(self.parts.names().1);
        texts(first.chain(copies.iter().map(ShortString::as_bytes)).chain(self.parts.blind_keys()))
    }

    /// The properties that are set, as a table: text, signed numbers, and the headers.
    fn properties(&self) -> Result<Table, Error> {
        let encoded = Bytes::copy_from_slice(self.parts.properties());
        let of = EncodedProperties::from_encoded(encoded).decode()?;
        let number = |number: u64| Value::I32(number as i32);
        let text = |value: Option<ShortString>| value.map(|value| text(value.as_bytes()));
        let all = [
            ("cluster_id", text(of.cluster_id)),
            ("app_id", text(of.app_id)),
            ("user_id", text(of.user_id)),
            ("type", text(of.kind)),
            ("timestamp", of.timestamp.map(number)),
            ("message_id", text(of.message_id)),
            ("expiration", text(of.expiration)),
            ("reply_to", text(of.reply_to)),
            ("correlation_id", text(of.correlation_id)),
            ("priority", of.priority.map(u64::from).map(number)),
            ("delivery_mode", of.delivery_mode.map(u64::from).map(number)),
            ("headers", of.headers.map(Value::Table)),
            ("content_encoding", text(of.content_encoding)),
            ("content_type", text(of.content_type)),
        ];
        let mut properties = Table::new();
        for (name, value) in all {
            if let Some(value) = value {
                properties.insert(name, value)?;
            }
        }
        Ok(properties)
    }
}

fn text(text: &[u8]) -> Value {
    Value::LongString(Bytes::copy_from_slice(text).into())
}

fn texts<'a>(all: impl Iterator<Item = &'a [u8]>) -> Result<Array, Error> {
    let mut array = Array::new();
    for one in all {
        array.push(text(one))?;
    }
    Ok(array)
}
