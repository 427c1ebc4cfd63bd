//! What is kept of a queue's declaration.

use amqp_codec::{Table, Value};
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{
    holder::Owner,
    refusals::{VHOST, precondition_failed},
};
use crate::{
    backend::{BackendError, QueueDeclaration},
    core::rabbitmq::{
        arguments::{Entity, QueueType},
        equivalence::{compare, compare_property},
        known::queue_arguments,
        refusal::Refusal,
        version::RabbitMq,
    },
};

/// The behaviour of a queue that its declaration chooses, as it is stored. Times are in
/// milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Declared {
    /// The lifetime of its lists after the last message was put into one, or asked for once.
    #[serde(rename = "x-expires", skip_serializing_if = "Option::is_none")]
    pub(crate) expires: Option<u64>,
    /// How long its messages live.
    #[serde(rename = "x-message-ttl", skip_serializing_if = "Option::is_none")]
    pub(crate) message_ttl: Option<u64>,
    /// The queue that its dead messages go to.
    #[serde(rename = "x-dead-letter-routing-key", skip_serializing_if = "Option::is_none")]
    pub(crate) dead_letter_queue: Option<String>,
    /// The connection that it belongs to, when it is exclusive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) owner: Option<Owner>,
    /// True if it is deleted, so that what is still sent to it by its name goes nowhere.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) deleted: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) durable: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) auto_delete: bool,
    /// All arguments, encoded and in base64: a later declaration is compared with them.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) arguments: String,
}

/// How long the lists of an exclusive queue outlive its connection at most, if that ends without
/// deleting it: one hour, as kombu keeps the bindings of queues that expire.
pub(crate) const EXCLUSIVE_EXPIRES: u64 = 3_600_000;

impl Declared {
    /// Reads a declaration.
    ///
    /// # Errors
    /// [`BackendError::NotImplemented`] for arguments that nothing here can serve, and
    /// [`BackendError::PreconditionFailed`] for values that no broker takes.
    pub(crate) fn new(queue: &QueueDeclaration, by: Owner) -> Result<Self, BackendError> {
        let mut declared = Declared {
            owner: queue.exclusive.then_some(by),
            durable: queue.durable,
            auto_delete: queue.auto_delete,
            arguments: BASE64.encode(queue.arguments.as_encoded()),
            ..Declared::default()
        };
        let mut to_default = false;
        for (name, value) in &queue.arguments {
            match name.as_str().unwrap_or_default() {
                "x-expires" => declared.expires = Some(milliseconds(queue, "x-expires", &value, 1)?),
                "x-message-ttl" => {
                    declared.message_ttl = Some(milliseconds(queue, "x-message-ttl", &value, 0)?);
                }
                "x-dead-letter-exchange" if value.as_str() == Some("") => to_default = true,
                "x-dead-letter-routing-key" => {
                    declared.dead_letter_queue = Some(text(queue, "x-dead-letter-routing-key", &value)?);
                }
                "x-queue-type" if value.as_str() == Some("classic") => {}
                // Every queue has kombu's priorities; mirroring is the server's business.
                "x-max-priority" | "x-ha-policy" => {}
                _ => return Err(unserved(&queue.name, &name.to_string(), &value)),
            }
        }
        match (to_default, &declared.dead_letter_queue) {
            (true, None) => Err(unserved(&queue.name, "x-dead-letter-exchange", &Value::from(""))),
            (false, Some(key)) => {
                Err(unserved(&queue.name, "x-dead-letter-routing-key", &Value::from(key.as_str())))
            }
            _ => Ok(declared),
        }
    }

    /// Returns what stands for a while in the place of a queue that was deleted.
    pub(crate) fn deleted() -> Self {
        Declared { deleted: true, ..Declared::default() }
    }

    /// The same queue with another owner.
    pub(crate) fn owned_by(self, owner: Owner) -> Self {
        Declared { owner: Some(owner), ..self }
    }

    /// Compares a later declaration with this one. As in kombu, the last one chooses `x-expires`.
    ///
    /// # Errors
    /// [`BackendError::PreconditionFailed`] when they differ.
    pub(crate) fn check_same(&self, received: &QueueDeclaration) -> Result<(), BackendError> {
        self.compare(received).map_err(|refusal| precondition_failed(&refusal))
    }

    fn compare(&self, received: &QueueDeclaration) -> Result<(), Refusal> {
        let entity = Entity { what: "queue", name: &received.name, vhost: VHOST };
        compare_property("durable", self.durable, received.durable, entity)?;
        compare_property("auto_delete", self.auto_delete, received.auto_delete, entity)?;
        let current = self.arguments();
        let known = queue_arguments(QueueType::Classic, RabbitMq::default().profile());
        let compared = known.iter().filter(|argument| **argument != "x-expires");
        compared.into_iter().try_for_each(|argument| compare(argument, &current, &received.arguments, entity))
    }

    fn arguments(&self) -> Table {
        let encoded = BASE64.decode(&self.arguments).unwrap_or_default();
        Table::from_encoded(Bytes::from(encoded)).unwrap_or_default()
    }

    /// Reads what was stored.
    pub(crate) fn read(json: &[u8]) -> Option<Self> {
        serde_json::from_slice(json).ok()
    }

    /// Reads the declaration of a queue that is not deleted.
    pub(crate) fn read_existing(json: &[u8]) -> Option<Self> {
        Self::read(json).filter(|declared| !declared.deleted)
    }

    /// The form in which it is stored.
    pub(crate) fn stored(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// How long its lists live after the last message was put there.
    pub(crate) fn lifetime(&self) -> Option<u64> {
        self.expires.or(self.owner.is_some().then_some(EXCLUSIVE_EXPIRES))
    }

    /// The queue that a message goes to when it has waited here, and how long it waits: this is a
    /// queue whose messages come back later.
    pub(crate) fn delay(&self) -> Option<(&str, u64)> {
        Some((self.dead_letter_queue.as_deref()?, self.message_ttl?))
    }
}

fn unserved(queue: &str, name: &str, value: &Value) -> BackendError {
    let value = value.as_str().map(|text| format!(" '{text}'")).unwrap_or_default();
    BackendError::NotImplemented(format!(
        "argument '{name}'{value} of queue '{queue}' is not served on Redis"
    ))
}

fn invalid(queue: &QueueDeclaration, name: &str) -> BackendError {
    BackendError::PreconditionFailed(format!("invalid arg '{name}' for queue '{}' in vhost '/'", queue.name))
}

fn milliseconds(
    queue: &QueueDeclaration,
    name: &str,
    value: &Value,
    least: u64,
) -> Result<u64, BackendError> {
    let time = value.as_i64().and_then(|time| u64::try_from(time).ok());
    time.filter(|time| *time >= least).ok_or_else(|| invalid(queue, name))
}

fn text(queue: &QueueDeclaration, name: &str, value: &Value) -> Result<String, BackendError> {
    value.as_str().map(str::to_owned).ok_or_else(|| invalid(queue, name))
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::{super::holder::Holder, *};

    fn queue(arguments: &[(&str, Value)]) -> QueueDeclaration {
        let mut table = Table::new();
        for (name, value) in arguments {
            table.insert(name, value.clone()).unwrap();
        }
        let (durable, exclusive, auto_delete) = (true, false, false);
        QueueDeclaration { name: "q".to_owned(), durable, exclusive, auto_delete, arguments: table }
    }

    fn owner() -> Owner {
        Owner { holder: Holder { id: Uuid::new_v4(), seat: None }, link: Some(1) }
    }

    fn declared(arguments: &[(&str, Value)]) -> Result<Declared, BackendError> {
        Declared::new(&queue(arguments), owner())
    }

    #[test]
    fn a_retry_queue_is_understood_and_kept() {
        let retry = declared(&[
            ("x-message-ttl", 500.into()),
            ("x-dead-letter-exchange", "".into()),
            ("x-dead-letter-routing-key", "work".into()),
        ])
        .unwrap();
        assert_eq!(retry.delay(), Some(("work", 500)));
        assert_eq!(Declared::read(retry.stored().as_bytes()), Some(retry));
    }

    #[test]
    fn what_is_not_served_is_named() {
        for (name, value) in [
            ("x-max-length", 5.into()),
            ("x-queue-type", "quorum".into()),
            ("x-dead-letter-exchange", "letters".into()),
            ("x-dead-letter-exchange", "".into()),
            ("x-dead-letter-routing-key", "work".into()),
            ("x-single-active-consumer", true.into()),
        ] as [(&str, Value); 6]
        {
            let refused = declared(&[(name, value)]).unwrap_err();
            assert!(
                matches!(&refused, BackendError::NotImplemented(text) if text.contains(name)),
                "{refused}"
            );
        }
        for (name, value) in [("x-expires", 0.into()), ("x-message-ttl", "1".into())] as [(&str, Value); 2] {
            assert!(matches!(declared(&[(name, value)]), Err(BackendError::PreconditionFailed(_))), "{name}");
        }
    }

    #[test]
    fn an_exclusive_queue_does_not_outlive_its_connection_for_ever() {
        assert_eq!(declared(&[]).unwrap().lifetime(), None);
        assert_eq!(declared(&[("x-expires", 5.into())]).unwrap().lifetime(), Some(5));
        let exclusive = Declared::default().owned_by(owner());
        assert_eq!(exclusive.lifetime(), Some(EXCLUSIVE_EXPIRES));
        assert_eq!(Declared::read(exclusive.stored().as_bytes()), Some(exclusive));
    }

    #[test]
    fn a_later_declaration_is_compared_with_all_but_what_the_last_one_chooses() {
        let current = declared(&[("x-max-priority", 5.into()), ("x-expires", 9.into())]).unwrap();
        let current = Declared::read(current.stored().as_bytes()).unwrap();
        let same = queue(&[("x-max-priority", 5_i64.into()), ("x-queue-type", "classic".into())]);
        assert_eq!(current.check_same(&same), Ok(()));
        let told = |other: &QueueDeclaration| current.check_same(other).unwrap_err().to_string();
        for (other, difference) in [
            (QueueDeclaration { durable: false, ..same.clone() }, "'durable'"),
            (QueueDeclaration { auto_delete: true, ..same.clone() }, "'auto_delete'"),
            (queue(&[]), "'x-max-priority'"),
            (queue(&[("x-max-priority", 5.into()), ("x-max-length", 7.into())]), "'x-max-length'"),
        ] {
            let text = told(&other);
            assert!(
                text.starts_with(&format!("inequivalent arg {difference} for queue 'q' in vhost '/': ")),
                "{text}"
            );
        }
    }
}
