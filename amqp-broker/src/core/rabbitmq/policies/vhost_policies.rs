//! The policies of a virtual host.

use std::{
    collections::BTreeMap,
    ops::Bound::{Excluded, Unbounded},
};

use amqp_codec::ShortString;

use super::{
    policy::{Policy, PolicyInfo},
    settings::PolicySettings,
};
use crate::core::rabbitmq::{known::QueueType, profile::PolicyKeys};

/// The policies of a virtual host, and those of its operators.
#[derive(Debug, Default)]
pub(crate) struct Policies {
    of_users: BTreeMap<ShortString, Policy>,
    of_operators: BTreeMap<ShortString, Policy>,
    /// A number that changes whenever a policy is set or cleared.
    pub(crate) version: u64,
    /// About how much memory they take, in bytes.
    weight: u64,
}

/// The policies that apply to an entity.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Applied<'a> {
    pub(crate) policy: Option<&'a Policy>,
    pub(crate) operator_policy: Option<&'a Policy>,
}

impl Policies {
    /// Sets a policy, in place of one of its name.
    pub(crate) fn set(&mut self, policy: Policy) {
        self.version += 1;
        self.weight += policy.weight();
        if let Some(replaced) = self.of_kind(policy.is_of_operator).insert(policy.name.clone(), policy) {
            self.weight -= replaced.weight();
        }
    }

    /// Removes a policy; returns its name, if there was one.
    pub(crate) fn clear(&mut self, name: &[u8], is_of_operator: bool) -> Option<ShortString> {
        let (name, cleared) = self.of_kind(is_of_operator).remove_entry(name)?;
        self.version += 1;
        self.weight -= cleared.weight();
        Some(name)
    }

    /// Tells whether there is one of this name and kind.
    pub(crate) fn has(&self, policy: &Policy) -> bool {
        let policies = if policy.is_of_operator { &self.of_operators } else { &self.of_users };
        policies.contains_key(&policy.name)
    }

    fn of_kind(&mut self, is_of_operator: bool) -> &mut BTreeMap<ShortString, Policy> {
        if is_of_operator { &mut self.of_operators } else { &mut self.of_users }
    }

    pub(crate) fn len(&self) -> usize {
        self.of_users.len() + self.of_operators.len()
    }

    /// About how much memory they take, in bytes.
    pub(crate) fn weight(&self) -> u64 {
        self.weight
    }

    /// The policies that follow one, or all of them: those of operators last, each kind by name.
    pub(crate) fn after(&self, last: Option<&PolicyInfo>) -> impl Iterator<Item = &Policy> {
        let from = |is_of_operator| match last {
            Some(last) if last.is_of_operator == is_of_operator => Excluded(last.name.as_bytes()),
            _ => Unbounded,
        };
        let of_users = self.of_users.range::<[u8], _>((from(false), Unbounded));
        let of_users = of_users.filter(move |_| last.is_none_or(|last| !last.is_of_operator));
        let of_operators = self.of_operators.range::<[u8], _>((from(true), Unbounded));
        of_users.chain(of_operators).map(|(_, policy)| policy)
    }

    /// The policies that apply to a queue, in a version with these keys.
    pub(crate) fn of_queue(&self, kind: QueueType, name: &[u8], keys: PolicyKeys) -> Applied<'_> {
        self.applied(|policy| policy.matches_queue(kind, name, keys))
    }

    /// The policies that apply to an exchange.
    pub(crate) fn of_exchange(&self, name: &[u8]) -> Applied<'_> {
        self.applied(|policy| policy.matches_exchange(name))
    }

    fn applied(&self, matches: impl Fn(&Policy) -> bool) -> Applied<'_> {
        Applied {
            policy: highest(&self.of_users, &matches),
            operator_policy: highest(&self.of_operators, &matches),
        }
    }
}

/// The policy of the highest priority that matches.
fn highest<'a>(
    policies: &'a BTreeMap<ShortString, Policy>,
    matches: &impl Fn(&Policy) -> bool,
) -> Option<&'a Policy> {
    // Among those of one priority, RabbitMQ promises no order.
    policies.values().filter(|policy| matches(policy)).max_by_key(|policy| policy.priority)
}

impl Applied<'_> {
    /// What both give together; `None` when there is neither.
    pub(crate) fn settings(self) -> Option<PolicySettings> {
        let of = |policy: &Policy| policy.settings.clone();
        match (self.policy, self.operator_policy) {
            (Some(policy), Some(operator)) => Some(of(policy).and_of_operator(&operator.settings)),
            (one, other) => one.or(other).map(of),
        }
    }
}
