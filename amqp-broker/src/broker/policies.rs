//! Policies, set while the broker is configured or runs.

use super::{Broker, BrokerBuilder};
use crate::core::rabbitmq::policies::{
    invalid_policy::InvalidPolicy,
    policy::{Policy, PolicyInfo},
};

/// Policies.
impl BrokerBuilder {
    /// Sets a policy of a virtual host, in place of one of its name and kind. A virtual host that
    /// the broker does not have, or that has a [`backend`](Self::backend), has no policies. With a
    /// folder the policies that were set while the broker ran are there too, until they are
    /// [cleared](Broker::clear_policy); those set here come before them, and are not kept. One that
    /// the version does not have which the broker is [like](Self::like) has no effect, and is
    /// logged.
    ///
    /// ```
    /// use amqp_broker::{Broker, Policy};
    /// use amqp_codec::Table;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let mut bounded = Table::new();
    /// bounded.insert("max-length", 100_000)?;
    /// let policy = Policy::for_operators("bounded", ".*", bounded)?;
    /// let broker = Broker::builder().policy("/", policy).build();
    /// # drop(broker);
    /// # Ok(())
    /// # }
    /// ```
    pub fn policy(mut self, vhost: impl Into<String>, policy: Policy) -> Self {
        self.config.policies.push((vhost.into(), policy));
        self
    }
}

/// Policies. A change is applied to the queues and exchanges that exist before the method returns,
/// or, where they are many, in turns, between which clients continue. A broker with a folder writes
/// it down as it does declarations; [`shutdown`](Broker::shutdown) waits for that.
impl Broker {
    /// Sets a policy of a virtual host, in place of one of its name and kind.
    ///
    /// A message keeps the time to live that it had when it came. What exceeds a new limit of
    /// length is dropped at once.
    ///
    /// # Errors
    /// When there is no such virtual host, or the version that the broker is
    /// [like](BrokerBuilder::like) has no such policies.
    ///
    /// ```
    /// use amqp_broker::{Broker, Policy};
    /// use amqp_codec::Table;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let broker = Broker::builder().build();
    /// let mut unrouted = Table::new();
    /// unrouted.insert("alternate-exchange", "unrouted")?;
    /// broker.set_policy("/", Policy::new("unrouted", "^events$", unrouted)?)?;
    /// assert!(broker.clear_policy("/", "unrouted"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn set_policy(&self, vhost: &str, policy: Policy) -> Result<(), InvalidPolicy> {
        let no_vhost = || InvalidPolicy::NoVhost { vhost: vhost.to_owned() };
        let host = self.inner.host(vhost).ok_or_else(no_vhost)?;
        host.with(|now, shared| {
            let set = shared.vhost.set_policy(now, policy);
            shared.catch_up(now);
            set
        })
    }

    /// Clears a policy of a virtual host. Returns whether there was one of this name.
    pub fn clear_policy(&self, vhost: &str, name: &str) -> bool {
        self.clear(vhost, name, false)
    }

    /// Clears an operator policy of a virtual host. Returns whether there was one of this name.
    pub fn clear_operator_policy(&self, vhost: &str, name: &str) -> bool {
        self.clear(vhost, name, true)
    }

    fn clear(&self, vhost: &str, name: &str, is_of_operator: bool) -> bool {
        let host = self.inner.host(vhost);
        host.is_some_and(|host| {
            host.with(|now, shared| {
                let was_there = shared.vhost.clear_policy(now, name.as_bytes(), is_of_operator);
                shared.catch_up(now);
                was_there
            })
        })
    }

    /// The policies of a virtual host, those of operators last, each kind by name. The list is
    /// empty when there is no such virtual host.
    pub fn policies(&self, vhost: &str) -> Vec<PolicyInfo> {
        let mut infos = Vec::new();
        if let Some(host) = self.inner.host(vhost) {
            while !host.with(|_, shared| shared.vhost.policy_infos(&mut infos)) {}
        }
        infos
    }
}
