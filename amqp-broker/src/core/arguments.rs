//! The x-arguments of queues: which values pass, and which differences a redeclaration may not have.
//!
//! <https://www.rabbitmq.com/queues.html#optional-arguments>, and RabbitMQ's texts to the letter.

use amqp_codec::{Table, Value};

use super::{
    refusal::Refusal,
    term::{same, shown, type_name},
};

/// What a queue does by its arguments. Times are milliseconds, sizes bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct QueueArguments {
    pub(crate) message_ttl: Option<u64>,
    pub(crate) expires: Option<u64>,
    pub(crate) max_length: Option<u64>,
    pub(crate) max_length_bytes: Option<u64>,
    pub(crate) overflow: Overflow,
    pub(crate) max_priority: u8,
    pub(crate) single_active_consumer: bool,
}

/// What happens to a message too many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Overflow {
    /// The oldest goes.
    #[default]
    DropHead,
    /// The new one is refused.
    RejectPublish,
}

/// Names an entity in a text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entity<'a> {
    pub(crate) what: &'static str,
    pub(crate) name: &'a str,
    pub(crate) vhost: &'a str,
}

/// The arguments two declarations of a queue are compared by, in the order RabbitMQ does.
const COMPARED: &[&str] = &[
    "x-expires",
    "x-message-ttl",
    "x-dead-letter-exchange",
    "x-dead-letter-routing-key",
    "x-max-length",
    "x-max-length-bytes",
    "x-max-priority",
    "x-overflow",
    "x-queue-mode",
    "x-single-active-consumer",
    "x-queue-type",
];

/// Ten years: the most milliseconds RabbitMQ takes.
pub(crate) const MOST_MILLISECONDS: i64 = 315_360_000_000;

/// The arguments RabbitMQ knows, and refuses for this type of queue.
const NOT_FOR_CLASSIC: &[&str] = &[
    "x-dead-letter-strategy",
    "x-max-in-memory-length",
    "x-max-in-memory-bytes",
    "x-quorum-initial-group-size",
    "x-max-age",
    "x-stream-max-segment-size-bytes",
    "x-initial-cluster-size",
    "x-queue-leader-locator",
    "x-delivery-limit",
];
const NOT_FOR_QUORUM: &[&str] = &[
    "x-max-priority",
    "x-queue-mode",
    "x-max-age",
    "x-stream-max-segment-size-bytes",
    "x-initial-cluster-size",
    "x-queue-master-locator",
    "x-queue-version",
];

impl QueueArguments {
    /// Checks the arguments and reads those that matter here.
    ///
    /// # Errors
    /// [`Refusal::InvalidArgument`] with RabbitMQ's reason.
    pub(crate) fn parse(table: &Table, queue: Entity<'_>) -> Result<Self, Refusal> {
        let mut check = Check { table, queue, quorum: false };
        check.quorum = check.queue_type()?;
        check.entity_names()?;
        let expires = check.integer("x-expires", 1, MOST_MILLISECONDS)?;
        let message_ttl = check.integer("x-message-ttl", 0, MOST_MILLISECONDS)?;
        check.dead_letter()?;
        let max_length = check.integer("x-max-length", 0, i64::MAX)?;
        let max_length_bytes = check.integer("x-max-length-bytes", 0, i64::MAX)?;
        let max_priority = check.max_priority()?;
        let overflow = check.overflow()?;
        check.queue_mode()?;
        let single_active_consumer = check.single_active_consumer()?;
        check.integer("x-delivery-limit", 0, i64::MAX)?;
        check.leftovers()?;
        Ok(QueueArguments {
            message_ttl,
            expires,
            max_length,
            max_length_bytes,
            overflow,
            max_priority,
            single_active_consumer,
        })
    }
}

struct Check<'a> {
    table: &'a Table,
    queue: Entity<'a>,
    quorum: bool,
}

impl Check<'_> {
    /// The value of an argument, if this type of queue may have it.
    fn value(&self, argument: &'static str) -> Result<Option<Value>, Refusal> {
        let value = self.table.get(argument);
        if value.is_some() && self.refused().contains(&argument) {
            return Err(self.refuse(argument));
        }
        Ok(value)
    }

    fn refused(&self) -> &'static [&'static str] {
        if self.quorum { NOT_FOR_QUORUM } else { NOT_FOR_CLASSIC }
    }

    fn refuse(&self, argument: &'static str) -> Refusal {
        let kind = if self.quorum { "quorum" } else { "classic" };
        self.because(argument, format!(" of queue type rabbit_{kind}_queue"))
    }

    /// Those that nobody asked for by name.
    fn leftovers(&self) -> Result<(), Refusal> {
        let left = self.refused().iter().find(|argument| self.table.contains_key(argument));
        left.map_or(Ok(()), |argument| Err(self.refuse(argument)))
    }

    fn entity_names(&self) -> Result<(), Refusal> {
        check_entity_name("x-dead-letter-exchange", self.table, self.queue)
    }

    fn integer(&self, argument: &'static str, least: i64, most: i64) -> Result<Option<u64>, Refusal> {
        let Some(value) = self.value(argument)? else { return Ok(None) };
        let number = value.as_i64().ok_or_else(|| self.expected(argument, "integer", &value))?;
        let why = match number {
            ..0 => format!("{{value_negative,{number}}}"),
            0 if least > 0 => "{value_zero,0}".to_owned(),
            _ if number > most => format!("{{value_too_large,{number}}}"),
            _ => return Ok(Some(number.unsigned_abs())),
        };
        Err(self.invalid(argument, &why))
    }

    fn max_priority(&self) -> Result<u8, Refusal> {
        let priority = self.integer("x-max-priority", 0, i64::MAX)?.unwrap_or(0);
        u8::try_from(priority)
            .map_err(|_| self.invalid("x-max-priority", &format!("{{max_value_exceeded,{priority}}}")))
    }

    fn single_active_consumer(&self) -> Result<bool, Refusal> {
        let argument = "x-single-active-consumer";
        match self.value(argument)? {
            None => Ok(false),
            Some(Value::Bool(b)) => Ok(b),
            Some(other) => Err(self.unacceptable(argument, &other)),
        }
    }

    fn text(&self, argument: &'static str) -> Result<Option<String>, Refusal> {
        match self.value(argument)? {
            None => Ok(None),
            Some(Value::LongString(text)) => Ok(Some(text.to_string())),
            Some(other) => Err(self.unacceptable(argument, &other)),
        }
    }

    fn unacceptable(&self, argument: &'static str, value: &Value) -> Refusal {
        self.invalid(argument, &format!("{{unacceptable_type,{}}}", type_name(value)))
    }

    fn dead_letter(&self) -> Result<(), Refusal> {
        let exchange = self.text("x-dead-letter-exchange")?;
        let key = self.text("x-dead-letter-routing-key")?;
        if key.is_some() && exchange.is_none() {
            return Err(self.invalid("x-dead-letter-routing-key", "routing_key_but_no_dlx_defined"));
        }
        Ok(())
    }

    fn overflow(&self) -> Result<Overflow, Refusal> {
        match self.text("x-overflow")?.as_deref() {
            None | Some("drop-head") => Ok(Overflow::DropHead),
            Some("reject-publish" | "reject-publish-dlx") => Ok(Overflow::RejectPublish),
            Some(_) => Err(self.invalid("x-overflow", "invalid_overflow")),
        }
    }

    fn queue_mode(&self) -> Result<(), Refusal> {
        match self.text("x-queue-mode")?.as_deref() {
            None | Some("default" | "lazy") => Ok(()),
            Some(other) => {
                Err(self.invalid("x-queue-mode", &format!("\"unsupported queue mode '{other}'\"")))
            }
        }
    }

    /// Whether it is a quorum queue.
    fn queue_type(&self) -> Result<bool, Refusal> {
        match self.text("x-queue-type")?.as_deref() {
            None | Some("classic") => Ok(false),
            Some("quorum") => Ok(true),
            Some("stream") => Err(Refusal::NotImplemented(format!(
                "stream queues are not supported by this broker: queue '{}' in vhost '{}'",
                self.queue.name, self.queue.vhost
            ))),
            Some(other) => {
                Err(self.invalid("x-queue-type", &format!("\"unsupported queue type '{other}'\"")))
            }
        }
    }

    fn expected(&self, argument: &'static str, expected: &str, got: &Value) -> Refusal {
        self.invalid(argument, &format!("\"expected {expected}, got {}\"", type_name(got)))
    }

    fn invalid(&self, argument: &'static str, why: &str) -> Refusal {
        self.because(argument, format!(": {why}"))
    }

    fn because(&self, argument: &'static str, why: String) -> Refusal {
        let Entity { name, vhost, .. } = self.queue;
        Refusal::InvalidArgument { argument, name: name.to_owned(), vhost: vhost.to_owned(), why }
    }
}

/// Checks that an argument that names another entity is text.
pub(crate) fn check_entity_name(
    argument: &'static str,
    table: &Table,
    entity: Entity<'_>,
) -> Result<(), Refusal> {
    match table.get(argument) {
        None | Some(Value::LongString(_)) => Ok(()),
        Some(other) => Err(Refusal::InvalidType {
            kind: type_name(&other),
            argument,
            what: entity.what,
            name: entity.name.to_owned(),
            vhost: entity.vhost.to_owned(),
        }),
    }
}

/// Checks that a queue declared again has the same arguments, of those that count.
pub(crate) fn compare_all(current: &Table, received: &Table, queue: Entity<'_>) -> Result<(), Refusal> {
    COMPARED.iter().try_for_each(|argument| compare(argument, current, received, queue))
}

/// Checks that both tables have the same under `argument`.
pub(crate) fn compare(
    argument: &str,
    current: &Table,
    received: &Table,
    entity: Entity<'_>,
) -> Result<(), Refusal> {
    let difference = match (received.get(argument), current.get(argument)) {
        (None, None) => return Ok(()),
        (Some(received), Some(current)) if same(&received, &current) => return Ok(()),
        (Some(received), Some(current)) => {
            format!("received '{}' but current is '{}'", shown(&received), shown(&current))
        }
        (received, current) => format!("received {} but current is {}", told(received), told(current)),
    };
    Err(inequivalent(argument, entity, difference))
}

fn told(value: Option<Value>) -> String {
    value.map_or_else(
        || "none".to_owned(),
        |value| format!("the value '{}' of type '{}'", shown(&value), type_name(&value)),
    )
}

/// Checks one property of an entity declared again.
pub(crate) fn compare_property<T: PartialEq + std::fmt::Display + Copy>(
    property: &str,
    current: T,
    received: T,
    entity: Entity<'_>,
) -> Result<(), Refusal> {
    if current == received {
        return Ok(());
    }
    let difference = format!("received '{received}' but current is '{current}'");
    Err(inequivalent(property, entity, difference))
}

fn inequivalent(argument: &str, entity: Entity<'_>, difference: String) -> Refusal {
    Refusal::Inequivalent {
        argument: argument.to_owned(),
        what: entity.what,
        name: entity.name.to_owned(),
        vhost: entity.vhost.to_owned(),
        difference,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUEUE: Entity<'_> = Entity { what: "queue", name: "q", vhost: "/" };

    fn table(entries: &[(&str, Value)]) -> Table {
        let mut table = Table::new();
        for (key, value) in entries {
            table.insert(key, value.clone()).unwrap();
        }
        table
    }

    #[test]
    fn integer_arguments_are_equal_by_value_whatever_their_width() {
        let narrow = table(&[("x-expires", Value::I32(1_800_000))]);
        let wide = table(&[("x-expires", Value::I64(1_800_000))]);
        assert_eq!(compare_all(&narrow, &wide, QUEUE), Ok(()));
    }

    #[test]
    fn an_argument_nobody_knows_is_accepted_and_does_not_count() {
        let odd = table(&[("x-whatever", Value::Bool(true))]);
        assert_eq!(QueueArguments::parse(&odd, QUEUE), Ok(QueueArguments::default()));
        assert_eq!(compare_all(&Table::new(), &odd, QUEUE), Ok(()));
    }

    #[test]
    fn an_argument_that_was_left_away_is_told_with_value_and_type() {
        let error =
            compare_all(&table(&[("x-expires", Value::I32(60000))]), &Table::new(), QUEUE).unwrap_err();
        assert_eq!(
            error.to_string(),
            "inequivalent arg 'x-expires' for queue 'q' in vhost '/': \
             received none but current is the value '60000' of type 'signedint'"
        );
    }
}
