//! The entities of RPC and notifications: names, flags and arguments, exactly oslo.messaging's. Both sides of a system declare
//! them, and a broker refuses the one who says otherwise.

use std::time::Duration;

use amqp_client::{Exchange, Queue};

use crate::{error::Error, id::Id};

/// How the entities of RPC and notifications are declared; all of a system must agree on it.
///
/// Default, as in Python: nothing durable, nothing auto-deleted, and the queues that only one process uses expire 30 minutes
/// after it is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Topology {
    durable: bool,
    auto_delete: bool,
    transient_ttl: Duration,
}

impl Topology {
    /// As Python declares them by default.
    #[must_use]
    pub const fn new() -> Self {
        Topology { durable: false, auto_delete: false, transient_ttl: Duration::from_secs(1800) }
    }

    /// Whether exchanges and shared queues outlive a restart of the broker: `amqp_durable_queues`; default false.
    #[must_use]
    pub const fn durable(mut self, durable: bool) -> Self {
        self.durable = durable;
        self
    }

    /// Whether exchanges and shared queues go with who last used them: `amqp_auto_delete`; default false.
    #[must_use]
    pub const fn auto_delete(mut self, auto_delete: bool) -> Self {
        self.auto_delete = auto_delete;
        self
    }

    /// How long the queues of one process stay when it is gone: `rabbit_transient_queues_ttl`, in whole milliseconds; zero
    /// is for ever; default 30 minutes.
    #[must_use]
    pub const fn transient_ttl(mut self, ttl: Duration) -> Self {
        self.transient_ttl = ttl;
        self
    }

    /// The exchange of requests and notifications.
    pub(crate) fn exchange(&self, name: &str) -> Exchange {
        Exchange::topic(name).durable(self.durable).auto_delete(self.auto_delete)
    }

    /// A queue that several processes consume from.
    pub(crate) fn shared_queue(&self, name: impl Into<String>) -> Queue {
        let queue = if self.durable { Queue::durable(name) } else { Queue::new(name) };
        queue.auto_delete(self.auto_delete)
    }

    /// The exchange that reaches all servers of a topic.
    pub(crate) fn fanout_exchange(&self, topic: &str) -> Exchange {
        Exchange::fanout(format!("{topic}_fanout")).auto_delete(true)
    }

    /// One server's queue on the fanout exchange.
    pub(crate) fn fanout_queue(&self, topic: &str) -> Result<Queue, Error> {
        self.transient_queue(format!("{topic}_fanout_{}", Id::new()))
    }

    /// The queue that the replies to one process come to.
    pub(crate) fn reply_queue(&self) -> Result<Queue, Error> {
        self.transient_queue(format!("reply_{}", Id::new()))
    }

    fn transient_queue(&self, name: String) -> Result<Queue, Error> {
        let ttl = i64::try_from(self.transient_ttl.as_millis()).unwrap_or(i64::MAX);
        match ttl {
            0 => Ok(Queue::new(name)),
            ttl => {
                Queue::new(name).arg("x-expires", ttl).map_err(Error::broker("name the argument x-expires"))
            }
        }
    }
}

impl Default for Topology {
    fn default() -> Self {
        Topology::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_entities_are_pythons() {
        let topology = Topology::default();
        assert_eq!(topology.exchange("openstack"), Exchange::topic("openstack"));
        assert_eq!(topology.shared_queue("t.s1"), Queue::new("t.s1"));
        assert_eq!(topology.fanout_exchange("t"), Exchange::fanout("t_fanout").auto_delete(true));
        let reply = topology.reply_queue().unwrap();
        assert_eq!(reply, Queue::new(reply.name()).arg("x-expires", 1_800_000_i64).unwrap());
        assert_eq!(reply.name().len(), "reply_".len() + 32);
        let fanout = topology.fanout_queue("t").unwrap();
        assert!(fanout.name().starts_with("t_fanout_"));
        assert_eq!(fanout, Queue::new(fanout.name()).arg("x-expires", 1_800_000_i64).unwrap());
    }

    #[test]
    fn durable_and_auto_delete_leave_the_transient_queues_alone() {
        let topology = Topology::new().durable(true).auto_delete(true).transient_ttl(Duration::ZERO);
        assert_eq!(topology.exchange("x"), Exchange::topic("x").durable(true).auto_delete(true));
        assert_eq!(topology.shared_queue("q"), Queue::durable("q").auto_delete(true));
        assert_eq!(topology.fanout_exchange("t"), Exchange::fanout("t_fanout").auto_delete(true));
        let reply = topology.reply_queue().unwrap();
        assert_eq!(reply, Queue::new(reply.name()));
    }
}
