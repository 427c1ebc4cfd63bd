//! The properties of an exchange declaration.

use amqp_codec::{ShortString, Table, Value};

/// How an exchange routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Direct,
    Fanout,
    Topic,
    Headers,
}

impl Kind {
    /// The kind of this name.
    pub(crate) fn parse(name: &ShortString) -> Option<Self> {
        match name.as_bytes() {
            b"direct" => Some(Kind::Direct),
            b"fanout" => Some(Kind::Fanout),
            b"topic" => Some(Kind::Topic),
            b"headers" => Some(Kind::Headers),
            _ => None,
        }
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Kind::Direct => "direct",
            Kind::Fanout => "fanout",
            Kind::Topic => "topic",
            Kind::Headers => "headers",
        }
    }
}

/// The properties of an exchange declaration.
#[derive(Clone, Debug)]
pub(crate) struct ExchangeDeclaration {
    pub(crate) name: ShortString,
    pub(crate) kind: Kind,
    pub(crate) durable: bool,
    pub(crate) auto_delete: bool,
    pub(crate) internal: bool,
    pub(crate) arguments: Table,
}

/// The memory of an exchange, in bytes. An estimate.
const EXCHANGE_OVERHEAD: u64 = 768;

impl ExchangeDeclaration {
    /// About how much memory the exchange takes.
    pub(crate) fn weight(&self) -> u64 {
        EXCHANGE_OVERHEAD + (self.name.len() + 2 * self.arguments.as_encoded().len()) as u64
    }

    /// The alternate exchange that it names.
    pub(crate) fn alternate(&self) -> Option<ShortString> {
        match self.arguments.get("alternate-exchange") {
            Some(Value::LongString(name)) => {
                ShortString::from_bytes("alternate-exchange", name.into_bytes()).ok()
            }
            _ => None,
        }
    }
}
