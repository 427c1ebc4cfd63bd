//! The properties of an exchange declaration.

use amqp_codec::{ShortString, Table};

use super::refusal::Refusal;

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
    pub(crate) fn parse(name: &ShortString) -> Result<Self, Refusal> {
        match name.as_bytes() {
            b"direct" => Ok(Kind::Direct),
            b"fanout" => Ok(Kind::Fanout),
            b"topic" => Ok(Kind::Topic),
            b"headers" => Ok(Kind::Headers),
            _ => Err(Refusal::UnknownExchangeType(name.to_string())),
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
}
