//! The filters of a stream's consumers, and the header that they filter by
//! (<https://www.rabbitmq.com/docs/streams#filtering>).

use amqp_codec::{Entries, LongString, Table, Value, ValueRef};

use crate::core::content::{header_table::get, properties::Relevant};

/// The header of a message that filters compare.
const VALUE: &str = "x-stream-filter-value";

/// A consumer's choice among the messages of a stream.
///
/// RabbitMQ decides for a whole chunk at a time, and so also delivers messages that the client has
/// to filter out itself. Here each message is its own chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StreamFilter {
    values: Vec<LongString>,
    /// Messages without a value match too.
    takes_unfiltered: bool,
}

impl StreamFilter {
    /// The filter that a consumer's arguments ask for. A value of another type asks for none, and
    /// elements of another type are left out.
    pub(super) fn of(filter: &Value, arguments: &Table) -> Option<Self> {
        let values = match filter {
            Value::LongString(text) => vec![text.clone()],
            Value::Array(elements) => elements
                .iter()
                .filter_map(|element| match element {
                    Value::LongString(text) => Some(text),
                    _ => None,
                })
                .collect(),
            _ => return None,
        };
        let unfiltered = arguments.get("x-stream-match-unfiltered");
        Some(StreamFilter { values, takes_unfiltered: unfiltered == Some(Value::Bool(true)) })
    }

    /// Tells whether it has no values, with which RabbitMQ breaks.
    pub(super) fn is_unusable(&self) -> bool {
        self.values.is_empty()
    }

    /// Tells whether a message with these properties matches.
    pub(crate) fn matches(&self, properties: &[u8]) -> bool {
        let headers = Relevant::find(properties).ok().and_then(|relevant| relevant.headers);
        match get(Entries::from_encoded(headers.unwrap_or_default()), VALUE) {
            Some(ValueRef::LongString(value)) => self.values.iter().any(|wanted| wanted.as_bytes() == value),
            _ => self.takes_unfiltered,
        }
    }
}
