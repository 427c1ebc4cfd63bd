//! The faults of a run, which follow from a seed.

use std::time::Duration;

use fastrand::Rng;

/// Erlang's `net_ticktime` of all nodes, in seconds: a node that is silent for 0.75 to 1.25 times
/// as long is taken for down. RabbitMQ's default is 60.
pub(super) const TICK_TIME: u64 = 8;
/// The nodes of a cluster.
pub(super) const NODES: usize = 3;

/// The kinds of faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The leader of a quorum queue is killed.
    LeaderKilled,
    /// Any node is killed.
    NodeKilled,
    /// A node is stopped, and goes on before others take it for down.
    BriefStop,
    /// A node is stopped for longer.
    LongStop,
    /// A node is cut off from the others.
    CutOff,
    /// A node is cut off, and back before others take it for down.
    BrieflyCutOff,
    /// Two nodes are parted, and the third sees both.
    TwoParted,
    /// No node sees another.
    AllParted,
    /// Nothing passes from a node to another.
    OneWay,
    /// Nothing passes between clients and a node.
    SilentToClients,
}

/// The kinds of a round: each comes once, leaders three times, in an order by chance.
pub const ROUND: [Kind; 12] = [
    Kind::LeaderKilled,
    Kind::LeaderKilled,
    Kind::LeaderKilled,
    Kind::NodeKilled,
    Kind::BriefStop,
    Kind::LongStop,
    Kind::CutOff,
    Kind::BrieflyCutOff,
    Kind::TwoParted,
    Kind::AllParted,
    Kind::OneWay,
    Kind::SilentToClients,
];

/// A fault, and for how long it lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) kind: Kind,
    /// The node that it is about, or the number of the queue whose leader it is.
    pub(super) node: usize,
    /// Another node.
    pub(super) other: usize,
    pub(super) lasts: Duration,
}

impl Kind {
    /// Returns the kind of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        ROUND.into_iter().find(|kind| kind.name() == name)
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Kind::LeaderKilled => "leader-killed",
            Kind::NodeKilled => "node-killed",
            Kind::BriefStop => "brief-stop",
            Kind::LongStop => "long-stop",
            Kind::CutOff => "cut-off",
            Kind::BrieflyCutOff => "briefly-cut-off",
            Kind::TwoParted => "two-parted",
            Kind::AllParted => "all-parted",
            Kind::OneWay => "one-way",
            Kind::SilentToClients => "silent-to-clients",
        }
    }

    /// Tells whether it takes a packet filter.
    pub(super) fn is_partition(self) -> bool {
        !matches!(self, Kind::LeaderKilled | Kind::NodeKilled | Kind::BriefStop | Kind::LongStop)
    }

    /// The time for which it may last, in milliseconds.
    fn times(self) -> (u64, u64) {
        match self {
            Kind::LeaderKilled | Kind::NodeKilled => (0, 12_000),
            Kind::BriefStop | Kind::BrieflyCutOff => (500, TICK_TIME * 500),
            Kind::AllParted => (TICK_TIME * 1_500, TICK_TIME * 2_500),
            _ => (TICK_TIME * 1_500, TICK_TIME * 4_000),
        }
    }
}

/// The faults of a run, one after the other without end.
#[derive(Debug)]
pub(super) struct Plan {
    rng: Rng,
    kinds: Vec<Kind>,
    round: Vec<Kind>,
}

impl Plan {
    /// The plan of a seed with rounds of these kinds; without partitions unless there
    /// `are_partitions`.
    pub(super) fn new(seed: u64, round: &[Kind], are_partitions: bool) -> Self {
        let kinds = round.iter().copied().filter(|kind| are_partitions || !kind.is_partition()).collect();
        Plan { rng: Rng::with_seed(seed ^ 0xc1a5_7e12), kinds, round: Vec::new() }
    }

    /// The time before the next fault, in which everything works.
    pub(super) fn pause(&mut self) -> Duration {
        Duration::from_millis(self.rng.u64(2_000..12_000))
    }

    /// The next fault, if there are so many queues.
    pub(super) fn fault(&mut self, queues: usize) -> Fault {
        if self.round.is_empty() {
            self.round.clone_from(&self.kinds);
            self.rng.shuffle(&mut self.round);
        }
        let kind = self.round.pop().unwrap_or(Kind::NodeKilled);
        let node = self.rng.usize(..if kind == Kind::LeaderKilled { queues } else { NODES });
        let other = (node + self.rng.usize(1..NODES)) % NODES;
        let (least, most) = kind.times();
        Fault { kind, node, other, lasts: Duration::from_millis(self.rng.u64(least..most)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(seed: u64, are_partitions: bool) -> Vec<Fault> {
        let mut plan = Plan::new(seed, &ROUND, are_partitions);
        (0..ROUND.len()).map(|_| plan.fault(5)).collect()
    }

    #[test]
    fn a_kind_is_found_by_its_name() {
        assert!(ROUND.into_iter().all(|kind| Kind::parse(kind.name()) == Some(kind)));
        assert_eq!(Kind::parse("leader"), None);
    }

    #[test]
    fn a_seed_is_a_plan() {
        assert_eq!(faults(7, true), faults(7, true));
        assert_ne!(faults(7, true), faults(8, true));
    }

    #[test]
    fn every_kind_is_in_a_round_and_no_partition_where_none_can_be() {
        let mut kinds: Vec<_> = faults(1, true).iter().map(|fault| fault.kind).collect();
        kinds.sort_unstable();
        let mut round = ROUND;
        round.sort_unstable();
        assert_eq!(kinds, round);
        assert!(faults(1, false).iter().all(|fault| !fault.kind.is_partition()));
    }

    #[test]
    fn two_nodes_are_two_and_times_are_on_their_side_of_the_tick_time() {
        let tick = Duration::from_secs(TICK_TIME);
        for fault in (0..50).flat_map(|seed| faults(seed, true)) {
            assert_ne!(fault.node % NODES, fault.other, "{fault:?}");
            match fault.kind {
                Kind::BriefStop | Kind::BrieflyCutOff => assert!(fault.lasts < tick * 3 / 4, "{fault:?}"),
                Kind::LeaderKilled | Kind::NodeKilled => {}
                _ => assert!(fault.lasts > tick * 5 / 4, "{fault:?}"),
            }
        }
    }
}
