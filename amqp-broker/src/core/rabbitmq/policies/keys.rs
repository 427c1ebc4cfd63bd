//! The keys of policies: the values that each takes, and what it applies to.

use amqp_codec::Value;

use super::invalid_policy::InvalidPolicy;
use crate::{
    core::rabbitmq::{arguments::age, known::QueueType, profile::PolicyKeys, term},
    shown::shown,
};

/// The values that a key takes.
#[derive(Clone, Copy)]
enum Needs {
    Name,
    /// A whole number of at least this.
    AtLeast(i64),
    Between(i64, i64),
    /// A negative one is none, where versions have that.
    DeliveryLimit,
    OneOf(&'static [&'static str]),
    Age,
    /// RabbitMQ checks more; the key has no effect here.
    Anything,
}

/// The types of queues that take a key. A policy with a key that a queue's type does not take does
/// not apply to that queue at all.
#[derive(Clone, Copy)]
struct Types {
    classic: bool,
    quorum: bool,
    stream: bool,
}

const ALL: Types = Types { classic: true, quorum: true, stream: true };
const CLASSIC: Types = Types { classic: true, quorum: false, stream: false };
const QUORUM: Types = Types { classic: false, quorum: true, stream: false };
const STREAM: Types = Types { classic: false, quorum: false, stream: true };
const NO_STREAM: Types = Types { stream: false, ..ALL };

/// The versions that know a key.
#[derive(Clone, Copy, PartialEq)]
enum Versions {
    All,
    None,
    From(PolicyKeys),
    UpTo(PolicyKeys),
}

/// A key of a policy's definition.
#[derive(Clone, Copy)]
pub(super) struct PolicyKey {
    pub(super) name: &'static str,
    needs: Needs,
    /// The name of its value in RabbitMQ's refusals.
    what: &'static str,
    types: Types,
    /// Set when classic queues take it where queues may be mirrored.
    classic_with_mirrors: bool,
    /// The versions where policies of users may have it, and those of operators.
    users: Versions,
    operators: Versions,
}

const fn key(name: &'static str, needs: Needs, what: &'static str, types: Types) -> PolicyKey {
    let classic_with_mirrors = types.classic;
    PolicyKey {
        name,
        needs,
        what,
        types,
        classic_with_mirrors,
        users: Versions::All,
        operators: Versions::None,
    }
}

const fn with_mirrors(classic_with_mirrors: bool, key: PolicyKey) -> PolicyKey {
    PolicyKey { classic_with_mirrors, ..key }
}

const fn limit(name: &'static str, needs: Needs, what: &'static str, types: Types) -> PolicyKey {
    PolicyKey { operators: Versions::All, ..key(name, needs, what, types) }
}

const fn users(users: Versions, key: PolicyKey) -> PolicyKey {
    PolicyKey { users, ..key }
}

const fn operators(operators: Versions, key: PolicyKey) -> PolicyKey {
    PolicyKey { operators, ..key }
}

const OVERFLOWS: Needs = Needs::OneOf(&["drop-head", "reject-publish", "reject-publish-dlx"]);
const MODES: Needs = Needs::OneOf(&["default", "lazy"]);
const STRATEGIES: Needs = Needs::OneOf(&["at-most-once", "at-least-once"]);
const LOCATORS: Needs = Needs::OneOf(&["client-local", "balanced", "random", "least-leaders"]);
const MASTERS: Needs = Needs::OneOf(&["client-local", "min-masters", "random"]);
const RETRIES: Needs = Needs::OneOf(&["disabled", "all", "failed", "returned"]);
const NOT_NEGATIVE: Needs = Needs::AtLeast(0);
const WITH_MIRRORS: Versions = Versions::UpTo(PolicyKeys::Mirrors);
const WITHOUT_MIRRORS: Versions = Versions::From(PolicyKeys::NoMirrors);
const WITH_DELAYS: Versions = Versions::From(PolicyKeys::Delays);

/// All keys of RabbitMQ without plugins.
const KEYS: &[PolicyKey] = &[
    key("alternate-exchange", Needs::Name, "alternate exchange name", ALL),
    key("dead-letter-exchange", Needs::Name, "dead letter exchange name", NO_STREAM),
    key("dead-letter-routing-key", Needs::Name, "dead letter routing key", NO_STREAM),
    key("dead-letter-strategy", STRATEGIES, "dead letter strategy", QUORUM),
    limit("message-ttl", NOT_NEGATIVE, "message TTL", NO_STREAM),
    limit("expires", Needs::AtLeast(1), "queue expiry", NO_STREAM),
    limit("max-length", NOT_NEGATIVE, "maximum length", NO_STREAM),
    limit("max-length-bytes", NOT_NEGATIVE, "maximum length in bytes", ALL),
    with_mirrors(true, limit("max-in-memory-length", NOT_NEGATIVE, "maximum memory in bytes", QUORUM)),
    with_mirrors(true, limit("max-in-memory-bytes", NOT_NEGATIVE, "maximum memory in bytes", QUORUM)),
    operators(WITHOUT_MIRRORS, key("overflow", OVERFLOWS, "overflow value", NO_STREAM)),
    limit("delivery-limit", Needs::DeliveryLimit, "delivery limit", QUORUM),
    key("queue-mode", MODES, "queue-mode value", CLASSIC),
    operators(WITHOUT_MIRRORS, key("queue-version", Needs::Between(1, 2), "queue-version value", ALL)),
    operators(WITHOUT_MIRRORS, key("queue-master-locator", MASTERS, "master locator", CLASSIC)),
    with_mirrors(false, key("queue-leader-locator", LOCATORS, "queue leader locator value", ALL)),
    key("max-age", Needs::Age, "max age", STREAM),
    key("stream-max-segment-size-bytes", Needs::Between(0, 3_000_000_000), "segment size", STREAM),
    users(
        WITHOUT_MIRRORS,
        key("stream-filter-size-bytes", Needs::Between(16, 255), "filter size. Valid range is 16-255", ALL),
    ),
    key("initial-cluster-size", NOT_NEGATIVE, "cluster size", STREAM),
    users(
        WITHOUT_MIRRORS,
        operators(
            WITHOUT_MIRRORS,
            key("target-group-size", Needs::AtLeast(1), "qq target count value", QUORUM),
        ),
    ),
    users(WITHOUT_MIRRORS, key("consumer-timeout", NOT_NEGATIVE, "consumer timeout", ALL)),
    users(WITH_DELAYS, key("delayed-retry-type", RETRIES, "delayed retry type", QUORUM)),
    users(WITH_DELAYS, key("delayed-retry-min", NOT_NEGATIVE, "delayed retry min", QUORUM)),
    users(WITH_DELAYS, key("delayed-retry-max", NOT_NEGATIVE, "delayed retry max", QUORUM)),
    users(WITH_MIRRORS, key("ha-mode", Needs::Anything, "ha-mode value", CLASSIC)),
    users(WITH_MIRRORS, key("ha-params", Needs::Anything, "ha-params value", CLASSIC)),
    users(WITH_MIRRORS, key("ha-sync-mode", Needs::Anything, "ha-sync-mode value", CLASSIC)),
    users(WITH_MIRRORS, key("ha-sync-batch-size", Needs::Anything, "ha-sync-batch-size value", CLASSIC)),
    users(
        WITH_MIRRORS,
        key("ha-promote-on-shutdown", Needs::Anything, "ha-promote-on-shutdown value", CLASSIC),
    ),
    users(
        WITH_MIRRORS,
        key("ha-promote-on-failure", Needs::Anything, "ha-promote-on-failure value", CLASSIC),
    ),
];

impl PolicyKey {
    /// The key of this name, in any version and kind of policy.
    pub(super) fn named(name: &[u8]) -> Option<&'static PolicyKey> {
        KEYS.iter().find(|key| key.name.as_bytes() == name)
    }

    /// Tells whether policies of this kind may have it in a version with these keys.
    pub(super) fn is_known(&self, is_of_operator: bool, keys: PolicyKeys) -> bool {
        match if is_of_operator { self.operators } else { self.users } {
            Versions::All => true,
            Versions::None => false,
            Versions::From(first) => keys >= first,
            Versions::UpTo(last) => keys <= last,
        }
    }

    /// Checks its value for a version with these keys.
    pub(super) fn check(&self, value: &Value, keys: PolicyKeys) -> Result<(), InvalidPolicy> {
        let (text, number) = (value.as_str(), value.as_i64());
        let is_valid = match self.needs {
            Needs::Name => text.is_some(),
            Needs::AtLeast(least) => number.is_some_and(|number| number >= least),
            Needs::Between(least, most) => number.is_some_and(|number| (least..=most).contains(&number)),
            Needs::DeliveryLimit => number.is_some_and(|limit| limit >= 0 || keys > PolicyKeys::Mirrors),
            Needs::OneOf(words) => text.is_some_and(|word| words.contains(&word)),
            Needs::Age => text.is_some_and(|text| matches!(age(text), Ok(Some(_)))),
            Needs::Anything => true,
        };
        if is_valid {
            return Ok(());
        }
        let value = text.map_or_else(|| shown(term::shown(value)), |text| format!("<<\"{}\">>", shown(text)));
        Err(InvalidPolicy::InvalidValue { key: self.name, value, what: self.what })
    }

    /// Tells whether a policy with this key may apply to queues of a type, in a version with these
    /// keys.
    pub(super) fn is_taken_by(&self, kind: QueueType, keys: PolicyKeys) -> bool {
        match kind {
            QueueType::Classic if keys == PolicyKeys::Mirrors => self.classic_with_mirrors,
            QueueType::Classic => self.types.classic,
            QueueType::Quorum => self.types.quorum,
            QueueType::Stream => self.types.stream,
        }
    }
}
