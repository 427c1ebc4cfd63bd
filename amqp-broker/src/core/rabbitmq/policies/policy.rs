//! A policy.

use amqp_codec::{Report, ShortString, Table};
use fancy_regex::{Regex, RegexBuilder};

use super::{invalid_policy::InvalidPolicy, keys::PolicyKey, settings::PolicySettings};
use crate::core::rabbitmq::{
    access::pattern::InvalidPattern, known::QueueType, profile::PolicyKeys, version::RabbitMq,
};

/// The most steps that a pattern which looks around goes back while it is matched with a name.
/// Names come from clients, who wait for each other meanwhile.
const MOST_STEPS: usize = 10_000;

/// The entities that a policy applies to, among those whose names match its pattern.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum PolicyTarget {
    /// Queues of all types, and exchanges.
    #[default]
    All,
    /// Queues of all types.
    Queues,
    /// Classic queues.
    ClassicQueues,
    /// Quorum queues.
    QuorumQueues,
    /// Streams.
    Streams,
    /// Exchanges.
    Exchanges,
}

impl PolicyTarget {
    const ALL: [Self; 6] = [
        PolicyTarget::All,
        PolicyTarget::Queues,
        PolicyTarget::ClassicQueues,
        PolicyTarget::QuorumQueues,
        PolicyTarget::Streams,
        PolicyTarget::Exchanges,
    ];

    /// Its name in RabbitMQ: `all`, `queues`, `classic_queues`, `quorum_queues`, `streams` or
    /// `exchanges`.
    pub const fn name(self) -> &'static str {
        match self {
            PolicyTarget::All => "all",
            PolicyTarget::Queues => "queues",
            PolicyTarget::ClassicQueues => "classic_queues",
            PolicyTarget::QuorumQueues => "quorum_queues",
            PolicyTarget::Streams => "streams",
            PolicyTarget::Exchanges => "exchanges",
        }
    }

    /// The target of this name; `None` when there is none.
    ///
    /// ```
    /// use amqp_broker::PolicyTarget;
    ///
    /// assert_eq!(PolicyTarget::named("streams"), Some(PolicyTarget::Streams));
    /// ```
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|target| target.name() == name)
    }

    fn has_queues(self, kind: QueueType) -> bool {
        match self {
            PolicyTarget::All | PolicyTarget::Queues => true,
            PolicyTarget::ClassicQueues => kind == QueueType::Classic,
            PolicyTarget::QuorumQueues => kind == QueueType::Quorum,
            PolicyTarget::Streams => kind == QueueType::Stream,
            PolicyTarget::Exchanges => false,
        }
    }
}

/// A policy: settings for all queues and exchanges of a virtual host whose names match a pattern,
/// those that exist and those that are declared later
/// (<https://www.rabbitmq.com/docs/parameters#policies>).
///
/// Of several policies that match, the one with the highest priority applies, alone. A policy with
/// a setting that a queue's type does not take does not apply to that queue. Beside the policy of
/// users an operator policy may apply. Of two numbers, be they of both policies or of a policy and
/// of the declaration, the smaller one counts. Otherwise what was declared comes before policies,
/// and operators come before users; but a policy's `overflow` comes before a quorum queue's own,
/// and whatever it says of a stream before what was declared.
///
/// The settings are RabbitMQ's, named as the arguments of declarations without `x-`:
/// `alternate-exchange`; `dead-letter-exchange`, `dead-letter-routing-key`, `message-ttl`,
/// `expires`, `max-length`, `max-length-bytes`, `overflow`; of quorum queues also `delivery-limit`
/// and, like [4.3](crate::RabbitMq::V4_3), `consumer-timeout` and `delayed-retry-type`, `-min` and
/// `-max`; of streams `max-length-bytes` and `max-age`. The other settings of the version that the
/// broker is [like](crate::BrokerBuilder::like) have no effect, as those of mirrored queues, which
/// RabbitMQ has before 4.0 (`ha-mode`).
///
/// ```
/// use amqp_broker::{Broker, Policy, PolicyTarget};
/// use amqp_codec::Table;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut short_lived = Table::new();
/// short_lived.insert("message-ttl", 60_000)?;
/// short_lived.insert("dead-letter-exchange", "late")?;
/// let policy = Policy::new("short-lived", "^events\\.", short_lived)?;
/// let policy = policy.apply_to(PolicyTarget::Queues);
/// let broker = Broker::builder().policy("/", policy).build();
/// assert_eq!(broker.policies("/")[0].name, "short-lived");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Policy {
    pub(crate) name: ShortString,
    pub(crate) pattern: String,
    names: Regex,
    pub(crate) target: PolicyTarget,
    pub(crate) priority: i64,
    pub(crate) definition: Table,
    pub(crate) is_of_operator: bool,
    pub(super) settings: PolicySettings,
}

/// The state of a policy; see [`Broker::policies`](crate::Broker::policies).
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct PolicyInfo {
    /// Its name.
    pub name: String,
    /// The regular expression that names match.
    pub pattern: String,
    /// The entities that it applies to.
    pub target: PolicyTarget,
    /// Of several, the one with the highest applies.
    pub priority: i64,
    /// Its settings.
    pub definition: Table,
    /// Set for an operator policy.
    pub is_of_operator: bool,
}

/// The most memory that a compiled pattern takes, in bytes: a short text may describe a large one.
const LARGEST_PATTERN: usize = 1 << 20;

/// The memory of a policy besides its texts: most of it is the compiled pattern. An estimate, like
/// the bytes that a byte of a pattern takes.
const OVERHEAD: u64 = 16 << 10;
const COMPILED_BYTE: u64 = 64;

impl Policy {
    /// About how much memory it takes, in bytes.
    pub(crate) fn weight(&self) -> u64 {
        let texts = self.name.as_bytes().len() + self.definition.as_encoded().len();
        OVERHEAD + texts as u64 + COMPILED_BYTE * self.pattern.len() as u64
    }

    /// Creates a policy for everything whose name matches a regular expression. As in RabbitMQ, it
    /// matches anywhere in a name unless `^` and `$` anchor it, and the empty one matches every
    /// name. It may look ahead and behind, as `^(?!amq\.)` does; one that does so and goes back
    /// more than 10,000 steps in a name does not match it.
    ///
    /// # Errors
    /// When the pattern is not a regular expression, or no version of RabbitMQ has policies with
    /// these settings.
    pub fn new(
        name: impl Into<String>,
        pattern: impl Into<String>,
        definition: Table,
    ) -> Result<Self, InvalidPolicy> {
        Self::of(name.into(), pattern.into(), definition, false)
    }

    /// Creates an operator policy, which applies beside the policies of users. It may only limit
    /// queues: by `message-ttl`, `expires`, `max-length`, `max-length-bytes`, `delivery-limit`, and
    /// `overflow`, which [4.0](crate::RabbitMq::V4_0) has; some settings without effect are taken.
    ///
    /// # Errors
    /// As [`new`](Self::new), and when an operator policy cannot have a setting.
    pub fn for_operators(
        name: impl Into<String>,
        pattern: impl Into<String>,
        definition: Table,
    ) -> Result<Self, InvalidPolicy> {
        Self::of(name.into(), pattern.into(), definition, true)
    }

    fn of(
        name: String,
        pattern: String,
        definition: Table,
        is_of_operator: bool,
    ) -> Result<Self, InvalidPolicy> {
        let length = name.len();
        let name = ShortString::try_from(name).map_err(|_| InvalidPolicy::InvalidName { length })?;
        let invalid = |error: fancy_regex::Error| InvalidPattern::new(&pattern, &Report(&error).to_string());
        let mut builder = RegexBuilder::new(&pattern);
        let names = builder.backtrack_limit(MOST_STEPS).delegate_size_limit(LARGEST_PATTERN).build();
        let names = names.map_err(invalid)?;
        check_for_any_version(&definition, is_of_operator)?;
        Ok(Policy {
            name,
            names,
            pattern,
            target: PolicyTarget::default(),
            priority: 0,
            settings: PolicySettings::of(&definition),
            definition,
            is_of_operator,
        })
    }

    /// Sets what it applies to. Default: [`PolicyTarget::All`].
    #[must_use]
    pub fn apply_to(self, target: PolicyTarget) -> Self {
        Policy { target, ..self }
    }

    /// Sets its priority. Default: 0.
    #[must_use]
    pub fn priority(self, priority: i64) -> Self {
        Policy { priority, ..self }
    }

    /// Tells whether it may apply to a queue, in a version with these keys.
    pub(super) fn matches_queue(&self, kind: QueueType, name: &[u8], known: PolicyKeys) -> bool {
        let mut keys = self.definition.entries().filter_map(|(name, _)| PolicyKey::named(name));
        self.target.has_queues(kind) && self.has(name) && keys.all(|key| key.is_taken_by(kind, known))
    }

    /// Tells whether it may apply to an exchange.
    pub(super) fn matches_exchange(&self, name: &[u8]) -> bool {
        matches!(self.target, PolicyTarget::All | PolicyTarget::Exchanges) && self.has(name)
    }

    /// Tells whether its pattern matches a name.
    fn has(&self, name: &[u8]) -> bool {
        self.names.is_match(&*String::from_utf8_lossy(name)).unwrap_or(false)
    }

    /// Checks that a version of RabbitMQ has policies like this one.
    ///
    /// # Errors
    /// When it does not know a setting, or takes no such value.
    ///
    /// ```
    /// use amqp_broker::{Policy, RabbitMq};
    /// use amqp_codec::Table;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let mut mirrored = Table::new();
    /// mirrored.insert("ha-mode", "all")?;
    /// let policy = Policy::new("mirrored", "", mirrored)?;
    /// assert!(policy.check_for(RabbitMq::V3_10).is_ok());
    /// assert!(policy.check_for(RabbitMq::V4_0).is_err());
    /// # Ok(())
    /// # }
    /// ```
    pub fn check_for(&self, version: RabbitMq) -> Result<(), InvalidPolicy> {
        self.check(version.profile().policy_keys)
    }

    /// Checks that a version with these keys has such policies.
    pub(crate) fn check(&self, keys: PolicyKeys) -> Result<(), InvalidPolicy> {
        check(&self.definition, self.is_of_operator, keys)
    }

    pub(crate) fn info(&self) -> PolicyInfo {
        PolicyInfo {
            name: self.name.to_string(),
            pattern: self.pattern.clone(),
            target: self.target,
            priority: self.priority,
            definition: self.definition.clone(),
            is_of_operator: self.is_of_operator,
        }
    }
}

/// Checks that any version has policies with this definition.
fn check_for_any_version(definition: &Table, is_of_operator: bool) -> Result<(), InvalidPolicy> {
    let checked = |keys| check(definition, is_of_operator, keys);
    let Err(last) = checked(PolicyKeys::Delays) else { return Ok(()) };
    // A key that the last version does not know may be of an earlier one, whose refusal says more.
    let is_earlier = |name: &String| {
        PolicyKey::named(name.as_bytes()).is_some_and(|key| key.is_known(is_of_operator, PolicyKeys::Mirrors))
    };
    match &last {
        InvalidPolicy::UnknownKeys { keys } if keys.iter().all(is_earlier) => checked(PolicyKeys::Mirrors),
        _ => Err(last),
    }
}

/// Checks the keys and values of a definition.
fn check(definition: &Table, is_of_operator: bool, keys: PolicyKeys) -> Result<(), InvalidPolicy> {
    let (mut seen, mut unknown) = (Vec::new(), Vec::new());
    for (name, value) in definition {
        match PolicyKey::named(name.as_bytes()).filter(|key| key.is_known(is_of_operator, keys)) {
            None => unknown.push(name.to_string()),
            Some(key) if seen.contains(&key.name) => {
                return Err(InvalidPolicy::KeyTwice { key: key.name.to_owned() });
            }
            Some(key) => {
                key.check(&value, keys)?;
                seen.push(key.name);
            }
        }
    }
    match (unknown.is_empty(), seen.is_empty()) {
        (false, _) => Err(InvalidPolicy::UnknownKeys { keys: unknown }),
        (true, true) => Err(InvalidPolicy::NoSettings),
        (true, false) => Ok(()),
    }
}
