//! The record that is kept of an exchange's declaration.

use super::refusals::{VHOST, precondition_failed};
use crate::{
    backend::{BackendError, ExchangeDeclaration, ExchangeKind},
    core::rabbitmq::{arguments::Entity, equivalence::compare_property, refusal::Refusal},
};

/// The word that is stored for an exchange that survives a restart of a broker.
const DURABLE: &str = "durable";

/// The word that is stored for an exchange that is deleted with its last binding.
const AUTO_DELETE: &str = "auto_delete";

/// An exchange as an AMQP client has declared it. Kombu stores no declarations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DeclaredExchange {
    pub(crate) kind: ExchangeKind,
    pub(crate) durable: bool,
    pub(crate) auto_delete: bool,
}

impl DeclaredExchange {
    /// Reads a declaration.
    ///
    /// # Errors
    /// [`BackendError::NotImplemented`] for what nothing here can serve.
    pub(crate) fn new(exchange: &ExchangeDeclaration) -> Result<Self, BackendError> {
        let ExchangeDeclaration { name, kind, durable, auto_delete, internal, arguments } = exchange;
        if let Some((argument, _)) = arguments.iter().next() {
            return Err(BackendError::NotImplemented(format!(
                "argument '{argument}' of exchange '{name}' is not served on Redis"
            )));
        }
        if *internal {
            let text = format!("exchange '{name}' is internal, which is not served on Redis");
            return Err(BackendError::NotImplemented(text));
        }
        Ok(DeclaredExchange { kind: *kind, durable: *durable, auto_delete: *auto_delete })
    }

    /// Reads what was stored: words, of which the kind is the first.
    pub(crate) fn read(stored: &str) -> Option<Self> {
        let mut words = stored.split(' ');
        let kind = ExchangeKind::from_name(words.next()?)?;
        let words: Vec<_> = words.collect();
        Some(DeclaredExchange {
            kind,
            durable: words.contains(&DURABLE),
            auto_delete: words.contains(&AUTO_DELETE),
        })
    }

    /// The form in which it is stored.
    pub(crate) fn stored(self) -> String {
        let words = [(true, self.kind.name()), (self.durable, DURABLE), (self.auto_delete, AUTO_DELETE)];
        let words: Vec<_> = words.into_iter().filter_map(|(is_so, word)| is_so.then_some(word)).collect();
        words.join(" ")
    }

    /// Compares a later declaration with this one.
    ///
    /// # Errors
    /// [`BackendError::PreconditionFailed`] when they differ.
    pub(crate) fn check_same(self, name: &str, received: Self) -> Result<(), BackendError> {
        self.compare(name, received).map_err(|refusal| precondition_failed(&refusal))
    }

    fn compare(self, name: &str, received: Self) -> Result<(), Refusal> {
        let entity = Entity { what: "exchange", name, vhost: VHOST };
        compare_property("type", self.kind, received.kind, entity)?;
        compare_property("durable", self.durable, received.durable, entity)?;
        compare_property("auto_delete", self.auto_delete, received.auto_delete, entity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_is_read_again() {
        for (durable, auto_delete, stored) in [
            (false, false, "topic"),
            (true, false, "topic durable"),
            (false, true, "topic auto_delete"),
            (true, true, "topic durable auto_delete"),
        ] {
            let exchange = DeclaredExchange { kind: ExchangeKind::Topic, durable, auto_delete };
            assert_eq!(exchange.stored(), stored);
            assert_eq!(DeclaredExchange::read(stored), Some(exchange));
        }
        assert_eq!(DeclaredExchange::read("headers"), None);
    }

    #[test]
    fn the_first_difference_is_told() {
        let one = DeclaredExchange { kind: ExchangeKind::Topic, durable: true, auto_delete: false };
        let told = |other| one.check_same("x", other).unwrap_err().to_string();
        let fanout = DeclaredExchange { kind: ExchangeKind::Fanout, durable: false, auto_delete: true };
        let text =
            "inequivalent arg 'type' for exchange 'x' in vhost '/': received 'fanout' but current is 'topic'";
        assert_eq!(told(fanout), text);
        let passing = DeclaredExchange { auto_delete: true, ..one };
        let text = "inequivalent arg 'auto_delete' for exchange 'x' in vhost '/': received 'true' but current is 'false'";
        assert_eq!(told(passing), text);
        assert_eq!(one.check_same("x", one), Ok(()));
    }
}
