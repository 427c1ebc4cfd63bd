//! The x-arguments of queues, and their valid values.
//!
//! See <https://www.rabbitmq.com/queues.html#optional-arguments>. The error texts are RabbitMQ's,
//! to the letter.

use std::fmt;

use amqp_codec::{ShortString, Table, Value};

use super::{
    delayed_retry::DelayedRetry,
    filter::StreamFilter,
    known::{consumer_arguments, queue_arguments},
    profile::{Profile, QuorumPriorities},
    refusal::Refusal,
    term::type_name,
};

pub(crate) use super::known::QueueType;

/// The behaviour of a queue that its arguments choose. Times are in milliseconds, sizes in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct QueueArguments {
    pub(crate) kind: QueueType,
    pub(crate) message_ttl: Option<u64>,
    pub(crate) expires: Option<u64>,
    pub(crate) max_length: Option<u64>,
    pub(crate) max_length_bytes: Option<u64>,
    /// The age at which a stream drops messages.
    pub(crate) max_age: Option<u64>,
    pub(crate) overflow: Overflow,
    pub(crate) dead_letter: Option<DeadLetterTarget>,
    /// How often a message of a quorum queue may be returned.
    pub(crate) delivery_limit: Option<u64>,
    /// Set when only failed deliveries count towards it.
    pub(crate) only_failures_count: bool,
    /// The delays of what returns to a quorum queue.
    pub(crate) delayed_retry: Option<DelayedRetry>,
    /// The time that its deliveries may stay unacknowledged.
    pub(crate) consumer_timeout: Option<u64>,
    /// The order of its messages by their priority.
    pub(crate) order: Order,
    /// Set when a message that a client returns goes to the end if there is no delivery limit.
    pub(crate) unlimited_returns_go_last: bool,
    pub(crate) single_active_consumer: bool,
}

/// The order of a queue's messages by their priority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// The highest comes first; this is the highest.
    Strict(u8),
    /// Messages above priority 4 are preferred two to one.
    TwoToOne,
}

impl Default for Order {
    fn default() -> Self {
        Order::Strict(0)
    }
}

/// Where the dead letters of a queue go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DeadLetterTarget {
    /// The name of the exchange, which need not exist.
    pub(crate) exchange: ShortString,
    /// The routing key that replaces the messages' own.
    pub(crate) key: Option<ShortString>,
}

/// What happens when a message exceeds the queue's limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Overflow {
    /// The oldest message is dropped.
    #[default]
    DropHead,
    /// The new message is refused.
    RejectPublish,
    /// The new message is refused, and published to the dead-letter exchange.
    RejectPublishDeadLetter,
}

/// An entity's name in an error text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entity<'a> {
    pub(crate) what: &'static str,
    pub(crate) name: &'a str,
    pub(crate) vhost: &'a str,
}

impl fmt::Display for Entity<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} '{}' in vhost '{}'", self.what, self.name, self.vhost)
    }
}

/// Ten years: the longest time RabbitMQ accepts, in milliseconds.
pub(crate) const MOST_MILLISECONDS: i64 = 315_360_000_000;

/// The largest segment of a stream, in bytes.
const MOST_SEGMENT_BYTES: u64 = 3_000_000_000;

impl QueueArguments {
    /// Checks the arguments, and reads those that the broker uses. Values come first, in RabbitMQ's
    /// order, then unknown arguments.
    ///
    /// # Errors
    /// [`Refusal::InvalidArgument`] with RabbitMQ's reason.
    pub(crate) fn parse(table: &Table, queue: Entity<'_>, profile: &Profile) -> Result<Self, Refusal> {
        check_entity_name("x-dead-letter-exchange", table, queue)?;
        let mut check = Check { table, queue, profile, kind: QueueType::Classic };
        check.kind = check.queue_type()?;
        let expires = check.integer("x-expires", 1, MOST_MILLISECONDS)?;
        let message_ttl = check.integer("x-message-ttl", 0, MOST_MILLISECONDS)?;
        let dead_letter = check.dead_letter()?;
        check.one_of("x-dead-letter-strategy", &["at-most-once", "at-least-once"], "invalid_dlx_strategy")?;
        let max_length = check.integer("x-max-length", 0, i64::MAX)?;
        let max_length_bytes = check.integer("x-max-length-bytes", 0, i64::MAX)?;
        check.integer("x-max-in-memory-length", 0, i64::MAX)?;
        check.integer("x-max-in-memory-bytes", 0, i64::MAX)?;
        let max_priority = check.max_priority()?;
        let overflow = check.overflow()?;
        check.queue_mode()?;
        check.queue_version()?;
        let single_active_consumer = check.single_active_consumer()?;
        check.integer("x-quorum-initial-group-size", 1, i64::MAX)?;
        let max_age = check.max_age()?;
        let segment = check.integer("x-stream-max-segment-size-bytes", 0, i64::MAX)?;
        check.integer("x-initial-cluster-size", 1, i64::MAX)?;
        const LOCATORS: &[&str] = &["client-local", "balanced", "random", "least-leaders"];
        check.one_of("x-queue-leader-locator", LOCATORS, "invalid_queue_locator_arg")?;
        let delayed_retry = check.delayed_retry()?;
        let consumer_timeout = check.integer("x-consumer-timeout", 0, i64::MAX)?;
        check.integer("x-consumer-disconnected-timeout", 0, i64::MAX)?;
        check.foreign(|kind| queue_arguments(kind, profile))?;
        if segment.is_some_and(|bytes| bytes > MOST_SEGMENT_BYTES) {
            return Err(Refusal::SegmentTooLarge);
        }
        check.filter_size()?;
        Ok(QueueArguments {
            kind: check.kind,
            message_ttl,
            expires,
            max_length,
            max_length_bytes,
            max_age,
            overflow,
            dead_letter,
            delivery_limit: check.delivery_limit(),
            only_failures_count: profile.only_failures_count && check.kind == QueueType::Quorum,
            delayed_retry,
            consumer_timeout,
            order: match (check.kind, profile.quorum_priorities) {
                (QueueType::Quorum, QuorumPriorities::TwoToOne) => Order::TwoToOne,
                (QueueType::Quorum, QuorumPriorities::Strict(most)) => Order::Strict(most),
                _ => Order::Strict(max_priority),
            },
            unlimited_returns_go_last: profile.unlimited_returns_go_last && check.kind == QueueType::Quorum,
            single_active_consumer,
        })
    }
}

/// The arguments of a consumer: <https://www.rabbitmq.com/consumers.html>.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ConsumerArguments {
    pub(crate) priority: i32,
    pub(crate) offset: OffsetArgument,
    /// The filter for the messages of a stream.
    pub(crate) filter: Option<StreamFilter>,
    /// The time that a delivery may stay unacknowledged, in milliseconds.
    pub(crate) timeout: Option<u64>,
}

/// Where a consumer of a stream begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum OffsetArgument {
    First,
    Last,
    #[default]
    Next,
    Offset(u64),
    /// Seconds since 1970.
    Timestamp(u64),
    /// This many milliseconds ago.
    Ago(u64),
}

impl ConsumerArguments {
    /// Checks the arguments, and reads those that the broker uses.
    ///
    /// # Errors
    /// [`Refusal::InvalidArgument`] with RabbitMQ's reason; [`Refusal::Internal`] where RabbitMQ
    /// has none.
    pub(crate) fn parse(
        table: &Table,
        kind: QueueType,
        queue: Entity<'_>,
        profile: &Profile,
    ) -> Result<Self, Refusal> {
        let known = |kind| consumer_arguments(kind, profile);
        let check = Check { table, queue, profile, kind };
        let of_type = |argument| if known(kind).contains(&argument) { table.get(argument) } else { None };
        let mut priority = 0;
        if let Some(value) = of_type("x-priority") {
            let number = value.as_i64().ok_or_else(|| check.expected("x-priority", "integer", &value))?;
            priority = number.clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32;
        }
        if let Some(value) = of_type("x-cancel-on-ha-failover").filter(|value| value.as_bool().is_none()) {
            return Err(check.unacceptable("x-cancel-on-ha-failover", &value));
        }
        let offset = match of_type("x-stream-offset") {
            None => OffsetArgument::Next,
            Some(value) => check.offset(&value)?,
        };
        let filter = of_type("x-stream-filter").and_then(|value| StreamFilter::of(&value, table));
        if filter.as_ref().is_some_and(StreamFilter::is_unusable) {
            return Err(Refusal::Internal);
        }
        let timeout = match of_type("x-consumer-timeout") {
            None => None,
            Some(value) => Some(check.not_negative("x-consumer-timeout", &value)?),
        };
        check.foreign(known)?;
        Ok(ConsumerArguments { priority, offset, filter, timeout })
    }
}

struct Check<'a> {
    table: &'a Table,
    queue: Entity<'a>,
    profile: &'a Profile,
    kind: QueueType,
}

impl Check<'_> {
    /// The value of an argument, if this type of queue knows it.
    fn value(&self, argument: &'static str) -> Option<Value> {
        let known = queue_arguments(self.kind, self.profile);
        if known.contains(&argument) { self.table.get(argument) } else { None }
    }

    /// Refuses the first argument that only other types know.
    fn foreign(&self, known: impl Fn(QueueType) -> &'static [&'static str]) -> Result<(), Refusal> {
        for (name, _) in self.table.entries() {
            for kind in [QueueType::Classic, QueueType::Quorum, QueueType::Stream] {
                let argument = known(kind).iter().find(|argument| argument.as_bytes() == name);
                if let Some(argument) = argument.filter(|argument| !known(self.kind).contains(argument)) {
                    return Err(self.because(argument, format!(" of queue type {}", self.kind.name())));
                }
            }
        }
        Ok(())
    }

    fn not_negative(&self, argument: &'static str, value: &Value) -> Result<u64, Refusal> {
        match value.as_i64() {
            None => Err(self.expected(argument, "integer", value)),
            Some(number @ ..0) => Err(self.invalid(argument, &format!("{{value_negative,{number}}}"))),
            Some(number) => Ok(number.unsigned_abs()),
        }
    }

    fn integer(&self, argument: &'static str, least: i64, most: i64) -> Result<Option<u64>, Refusal> {
        let Some(value) = self.value(argument) else { return Ok(None) };
        let number = value.as_i64().ok_or_else(|| self.expected(argument, "integer", &value))?;
        let why = match number {
            ..0 => format!("{{value_negative,{number}}}"),
            0 if least > 0 => "{value_zero,0}".to_owned(),
            _ if number > most => format!("{{value_too_large,{number}}}"),
            _ => return Ok(Some(number.unsigned_abs())),
        };
        Err(self.invalid(argument, &why))
    }

    /// Returns the number of times that a message may be returned. RabbitMQ does not check this
    /// argument: a value that is not a number sets no limit. A negative one is taken as zero, or
    /// sets none, which depends on the version.
    fn delivery_limit(&self) -> Option<u64> {
        let default = self.profile.delivery_limit;
        match self.value("x-delivery-limit") {
            None if self.kind == QueueType::Quorum => default,
            None => None,
            Some(value) => match value.as_i64() {
                Some(..0) if self.profile.negative_limit_is_none => None,
                number => number.map(|limit| limit.max(0).unsigned_abs()),
            },
        }
    }

    /// Checks the size of a stream's filter, which has no effect here.
    fn filter_size(&self) -> Result<(), Refusal> {
        if self.kind != QueueType::Stream || !self.profile.stream_filters {
            return Ok(());
        }
        let argument = "x-stream-filter-size-bytes";
        match self.table.get(argument) {
            None => Ok(()),
            Some(value) => match value.as_i64() {
                None => Err(self.expected(argument, "integer", &value)),
                Some(16..=255) => Ok(()),
                Some(number @ ..0) => Err(self.invalid(argument, &format!("{{value_negative,{number}}}"))),
                Some(_) => Err(Refusal::FilterSize),
            },
        }
    }

    /// Returns the delays of what returns. Without a least delay, or of type `disabled`, there are
    /// none.
    fn delayed_retry(&self) -> Result<Option<DelayedRetry>, Refusal> {
        const TYPES: &[&str] = &["disabled", "all", "failed", "returned"];
        let kind = self.one_of("x-delayed-retry-type", TYPES, "invalid_delayed_retry_type")?;
        let least = self.integer("x-delayed-retry-min", 0, i64::MAX)?;
        let most = self.integer("x-delayed-retry-max", 0, i64::MAX)?;
        Ok(kind.zip(least).and_then(|(kind, least)| DelayedRetry::new(&kind, least, most)))
    }

    fn max_priority(&self) -> Result<u8, Refusal> {
        let priority = self.integer("x-max-priority", 0, i64::MAX)?.unwrap_or(0);
        u8::try_from(priority)
            .map_err(|_| self.invalid("x-max-priority", &format!("{{max_value_exceeded,{priority}}}")))
    }

    fn single_active_consumer(&self) -> Result<bool, Refusal> {
        let argument = "x-single-active-consumer";
        match self.value(argument) {
            None => Ok(false),
            Some(Value::Bool(b)) => Ok(b),
            Some(other) => Err(self.unacceptable(argument, &other)),
        }
    }

    fn text(&self, argument: &'static str) -> Result<Option<String>, Refusal> {
        match self.value(argument) {
            None => Ok(None),
            Some(Value::LongString(text)) => Ok(Some(text.to_string())),
            Some(other) => Err(self.unacceptable(argument, &other)),
        }
    }

    fn one_of(&self, argument: &'static str, allowed: &[&str], why: &str) -> Result<Option<String>, Refusal> {
        match self.text(argument)? {
            Some(text) if !allowed.contains(&text.as_str()) => Err(self.invalid(argument, why)),
            text => Ok(text),
        }
    }

    fn unacceptable(&self, argument: &'static str, value: &Value) -> Refusal {
        self.invalid(argument, &format!("{{unacceptable_type,{}}}", type_name(value)))
    }

    fn dead_letter(&self) -> Result<Option<DeadLetterTarget>, Refusal> {
        let name = |argument| -> Result<Option<ShortString>, Refusal> {
            match self.value(argument) {
                None => Ok(None),
                // A name over 255 bytes cannot be the name of an exchange.
                Some(Value::LongString(text)) => Ok(Some(
                    ShortString::from_bytes(argument, text.into_bytes()).unwrap_or_default().detach(),
                )),
                Some(other) => Err(self.unacceptable(argument, &other)),
            }
        };
        let exchange = name("x-dead-letter-exchange")?;
        match (exchange, name("x-dead-letter-routing-key")?) {
            (Some(exchange), key) => Ok(Some(DeadLetterTarget { exchange, key })),
            (None, None) => Ok(None),
            (None, Some(_)) => {
                Err(self.invalid("x-dead-letter-routing-key", "routing_key_but_no_dlx_defined"))
            }
        }
    }

    fn overflow(&self) -> Result<Overflow, Refusal> {
        const KNOWN: &[&str] = &["drop-head", "reject-publish", "reject-publish-dlx"];
        match self.one_of("x-overflow", KNOWN, "invalid_overflow")?.as_deref() {
            Some("reject-publish") => Ok(Overflow::RejectPublish),
            // RabbitMQ's quorum queues accept it and ignore it.
            Some("reject-publish-dlx") if self.kind == QueueType::Classic => {
                Ok(Overflow::RejectPublishDeadLetter)
            }
            _ => Ok(Overflow::DropHead),
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

    fn queue_version(&self) -> Result<(), Refusal> {
        match self.integer("x-queue-version", 0, i64::MAX)? {
            None => Ok(()),
            Some(version) if (self.profile.least_queue_version..=2).contains(&version) => Ok(()),
            Some(other) => {
                Err(self.invalid("x-queue-version", &format!("\"unsupported queue version '{other}'\"")))
            }
        }
    }

    fn queue_type(&self) -> Result<QueueType, Refusal> {
        match self.text("x-queue-type")?.as_deref() {
            None | Some("classic") => Ok(QueueType::Classic),
            Some("quorum") => Ok(QueueType::Quorum),
            Some("stream") => Ok(QueueType::Stream),
            Some(other) => {
                Err(self.invalid("x-queue-type", &format!("\"unsupported queue type '{other}'\"")))
            }
        }
    }

    fn max_age(&self) -> Result<Option<u64>, Refusal> {
        match self.text("x-max-age")? {
            None => Ok(None),
            Some(text) => match age(&text)? {
                Some(milliseconds) => Ok(Some(milliseconds)),
                None => Err(self.invalid("x-max-age", "invalid_max_age")),
            },
        }
    }

    fn offset(&self, value: &Value) -> Result<OffsetArgument, Refusal> {
        match value {
            Value::LongString(text) => match text.to_text().as_ref() {
                "first" => Ok(OffsetArgument::First),
                "last" => Ok(OffsetArgument::Last),
                "next" => Ok(OffsetArgument::Next),
                other => age(other)?.map(OffsetArgument::Ago).ok_or_else(|| {
                    let why = format!("{{invalid_stream_offset_arg,{{longstr,<<{other:?}>>}}}}");
                    self.invalid("x-stream-offset", &why)
                }),
            },
            Value::Timestamp(seconds) => Ok(OffsetArgument::Timestamp(*seconds)),
            other => match other.as_i64() {
                Some(offset @ 0..) => Ok(OffsetArgument::Offset(offset.unsigned_abs())),
                _ => Err(Refusal::Internal),
            },
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

/// A time from a number and its unit, in milliseconds; `None` for one that is not positive or has
/// no unit.
///
/// # Errors
/// [`Refusal::Internal`] when it does not begin with a number, as in RabbitMQ.
pub(super) fn age(text: &str) -> Result<Option<u64>, Refusal> {
    let digits = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    if number.is_empty() {
        return Err(Refusal::Internal);
    }
    let seconds: u64 = match unit {
        "Y" => 365 * 86_400,
        "M" => 30 * 86_400,
        "D" => 86_400,
        "h" => 3600,
        "m" => 60,
        "s" => 1,
        _ => return Ok(None),
    };
    // A number that is too large counts as the largest.
    let number = number.parse().unwrap_or(u64::MAX);
    Ok((number > 0).then(|| number.saturating_mul(1000 * seconds)))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::rabbitmq::version::RabbitMq;

    const QUEUE: Entity<'_> = Entity { what: "queue", name: "q", vhost: "/" };

    #[test]
    fn an_argument_nobody_knows_is_accepted() {
        let mut odd = Table::new();
        odd.insert("x-whatever", true).unwrap();
        let profile = RabbitMq::V3_10.profile();
        assert_eq!(QueueArguments::parse(&odd, QUEUE, profile), Ok(QueueArguments::default()));
    }

    #[test]
    fn ages_are_numbers_with_a_unit() {
        let table = [("5s", Ok(Some(5000))), ("2h", Ok(Some(7_200_000))), ("1M", Ok(Some(2_592_000_000)))];
        for (text, expected) in table {
            assert_eq!(age(text), expected);
        }
        assert_eq!((age("0s"), age("5"), age("5x")), (Ok(None), Ok(None), Ok(None)));
        assert_eq!((age(""), age("s")), (Err(Refusal::Internal), Err(Refusal::Internal)));
        assert_eq!(age("99999999999999999999Y"), Ok(Some(u64::MAX)));
    }
}
