//! The settings that policies give to a queue or an exchange.

use amqp_codec::{ShortString, Table, Value};

use crate::core::rabbitmq::{
    arguments::{DeadLetterTarget, Overflow, QueueArguments, age},
    delayed_retry::DelayedRetry,
    known::QueueType,
    profile::Profile,
};

/// The settings of a policy, or of two that apply to the same entity. Times are in milliseconds,
/// sizes in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PolicySettings {
    pub(crate) alternate_exchange: Option<ShortString>,
    dead_letter_exchange: Option<ShortString>,
    dead_letter_routing_key: Option<ShortString>,
    message_ttl: Option<u64>,
    expires: Option<u64>,
    max_length: Option<u64>,
    max_length_bytes: Option<u64>,
    max_age: Option<u64>,
    overflow: Option<Overflow>,
    /// The number of returns of a message; `Some(None)` for any number.
    delivery_limit: Option<Option<u64>>,
    consumer_timeout: Option<u64>,
    delayed_retry_type: Option<String>,
    delayed_retry_min: Option<u64>,
    delayed_retry_max: Option<u64>,
}

impl PolicySettings {
    /// Reads a definition whose values are checked.
    pub(super) fn of(definition: &Table) -> Self {
        let number = |key| definition.get(key).as_ref().and_then(Value::as_i64).map(i64::unsigned_abs);
        let text = |key| definition.get(key).as_ref().and_then(Value::as_str).map(str::to_owned);
        // A name over 255 bytes cannot be the name of an exchange.
        let name = |key| text(key).map(|name| ShortString::try_from(name).unwrap_or_default());
        PolicySettings {
            alternate_exchange: name("alternate-exchange"),
            dead_letter_exchange: name("dead-letter-exchange"),
            dead_letter_routing_key: name("dead-letter-routing-key"),
            message_ttl: number("message-ttl"),
            expires: number("expires"),
            max_length: number("max-length"),
            max_length_bytes: number("max-length-bytes"),
            max_age: text("max-age").and_then(|text| age(&text).ok().flatten()),
            overflow: text("overflow").as_deref().map(overflow),
            delivery_limit: definition.get("delivery-limit").map(|limit| returns(&limit)),
            consumer_timeout: number("consumer-timeout"),
            delayed_retry_type: text("delayed-retry-type"),
            delayed_retry_min: number("delayed-retry-min"),
            delayed_retry_max: number("delayed-retry-max"),
        }
    }

    /// Combines a policy with an operator policy: of two numbers the smaller one counts, and
    /// otherwise the operator's value.
    pub(super) fn and_of_operator(self, operator: &PolicySettings) -> Self {
        let operator = operator.clone();
        PolicySettings {
            alternate_exchange: operator.alternate_exchange.or(self.alternate_exchange),
            dead_letter_exchange: operator.dead_letter_exchange.or(self.dead_letter_exchange),
            dead_letter_routing_key: operator.dead_letter_routing_key.or(self.dead_letter_routing_key),
            message_ttl: least(self.message_ttl, operator.message_ttl),
            expires: least(self.expires, operator.expires),
            max_length: least(self.max_length, operator.max_length),
            max_length_bytes: least(self.max_length_bytes, operator.max_length_bytes),
            max_age: least(self.max_age, operator.max_age),
            overflow: operator.overflow.or(self.overflow),
            delivery_limit: fewest(self.delivery_limit, operator.delivery_limit),
            consumer_timeout: operator.consumer_timeout.or(self.consumer_timeout),
            delayed_retry_type: operator.delayed_retry_type.or(self.delayed_retry_type),
            delayed_retry_min: operator.delayed_retry_min.or(self.delayed_retry_min),
            delayed_retry_max: operator.delayed_retry_max.or(self.delayed_retry_max),
        }
    }

    /// Completes the arguments of a declaration: of two numbers the smaller one counts, and
    /// otherwise the declared value, apart from a quorum queue's `overflow` and a stream.
    pub(crate) fn complete(
        &self,
        declared: QueueArguments,
        table: &Table,
        profile: &Profile,
    ) -> QueueArguments {
        let is_quorum = declared.kind == QueueType::Quorum;
        let is_stream = declared.kind == QueueType::Stream;
        let says = |argument: &str| table.get(argument).is_some();
        QueueArguments {
            message_ttl: least(declared.message_ttl, self.message_ttl),
            expires: least(declared.expires, self.expires),
            max_length: least(declared.max_length, self.max_length),
            max_length_bytes: match is_stream {
                true => self.max_length_bytes.or(declared.max_length_bytes),
                false => least(declared.max_length_bytes, self.max_length_bytes),
            },
            max_age: self.max_age.or(declared.max_age),
            overflow: match self.overflow {
                Some(overflow) if is_quorum || !says("x-overflow") => of_type(overflow, declared.kind),
                _ => declared.overflow,
            },
            dead_letter: self.dead_letter(declared.dead_letter),
            delivery_limit: match self.delivery_limit {
                Some(limit) if is_quorum && !says("x-delivery-limit") => limit,
                Some(limit) if is_quorum => least(declared.delivery_limit, limit),
                _ => declared.delivery_limit,
            },
            consumer_timeout: match profile.timeouts_end_consumers && is_quorum {
                true => least(declared.consumer_timeout, self.consumer_timeout),
                false => declared.consumer_timeout,
            },
            delayed_retry: match profile.delayed_retries && is_quorum && !says("x-delayed-retry-type") {
                true => self.delayed_retry().or(declared.delayed_retry),
                false => declared.delayed_retry,
            },
            ..declared
        }
    }

    fn dead_letter(&self, declared: Option<DeadLetterTarget>) -> Option<DeadLetterTarget> {
        let (exchange, key) = declared.map_or((None, None), |target| (Some(target.exchange), target.key));
        // A routing key without an exchange has no effect.
        let exchange = exchange.or_else(|| self.dead_letter_exchange.clone())?;
        Some(DeadLetterTarget { exchange, key: key.or_else(|| self.dead_letter_routing_key.clone()) })
    }

    fn delayed_retry(&self) -> Option<DelayedRetry> {
        let (kind, least) = (self.delayed_retry_type.as_deref()?, self.delayed_retry_min?);
        DelayedRetry::new(kind, least, self.delayed_retry_max)
    }
}

fn least(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    one.zip(other).map(|(one, other)| one.min(other)).or(one).or(other)
}

/// Of two numbers of returns the smaller one.
fn fewest(one: Option<Option<u64>>, other: Option<Option<u64>>) -> Option<Option<u64>> {
    one.zip(other).map(|(one, other)| least(one, other)).or(one).or(other)
}

/// A number of returns; a negative one sets no limit.
fn returns(limit: &Value) -> Option<u64> {
    limit.as_i64().and_then(|limit| u64::try_from(limit).ok())
}

fn overflow(word: &str) -> Overflow {
    match word {
        "reject-publish" => Overflow::RejectPublish,
        "reject-publish-dlx" => Overflow::RejectPublishDeadLetter,
        _ => Overflow::DropHead,
    }
}

/// RabbitMQ's quorum queues accept `reject-publish-dlx` and ignore it.
fn of_type(overflow: Overflow, kind: QueueType) -> Overflow {
    match (overflow, kind) {
        (Overflow::RejectPublishDeadLetter, QueueType::Quorum) => Overflow::DropHead,
        _ => overflow,
    }
}
