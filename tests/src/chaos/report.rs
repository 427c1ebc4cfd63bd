//! The report of a run.

use std::{fmt, time::Duration};

use super::account::Sums;
use crate::footprint::Footprint;

/// The events of a run, and all that is wrong.
#[derive(Debug, Default)]
pub struct Report {
    /// The seed, and for how long faults came about.
    pub(super) seed: u64,
    pub(super) lasted: Duration,
    /// The sums of each account of messages.
    pub(super) messages: Vec<(&'static str, Sums)>,
    /// The counts of each kind of calls.
    pub(super) calls: Vec<(&'static str, String)>,
    /// The number of faults of each kind.
    pub(super) faults: Vec<(&'static str, usize)>,
    /// The nodes that had to be started again because they did not come back by themselves.
    pub(super) stuck: usize,
    pub(super) reconnects: u64,
    /// The longest time in which a client of each kind got nothing done.
    pub(super) longest: Vec<(&'static str, Duration)>,
    /// The resources of the program before its clients began, after the first part, at the end, and
    /// when all were closed.
    pub(super) before: Footprint,
    pub(super) warm: Footprint,
    pub(super) end: Footprint,
    pub(super) after: Footprint,
    pub(super) wrong: Vec<String>,
}

impl Report {
    /// Everything that is wrong.
    #[must_use]
    pub fn wrong(&self) -> &[String] {
        &self.wrong
    }

    /// Checks that nothing grew, and that nothing is left.
    pub(super) fn check_footprints(&mut self) {
        /// Memory may grow by half and so many bytes, and descriptors by those of the connections
        /// that messaging opens beside those that do not answer.
        const MEMORY: u64 = 24 << 20;
        const DESCRIPTORS: usize = 32;
        let Report { before, warm, end, after, .. } = self;
        let mut grown = Vec::new();
        if end.resident > warm.resident * 3 / 2 + MEMORY {
            grown.push(format!("memory grew: {warm}; {end}"));
        }
        if end.descriptors > warm.descriptors + DESCRIPTORS {
            grown.push(format!("descriptors grew: {warm}; {end}"));
        }
        if after.descriptors > before.descriptors || after.tasks > before.tasks {
            grown.push(format!("something is left: {before}; {after}"));
        }
        self.wrong.extend(grown);
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}, {} s", self.seed, self.lasted.as_secs())?;
        writeln!(f, "\n{:<16} | {}", "messages", Sums::HEADS)?;
        for (name, sums) in &self.messages {
            writeln!(f, "{name:<16} | {sums}")?;
        }
        writeln!(f)?;
        for (name, counts) in &self.calls {
            writeln!(f, "{name}: {counts}")?;
        }
        writeln!(f)?;
        for (name, count) in &self.faults {
            writeln!(f, "{count:>4} {name}")?;
        }
        writeln!(f, "{:>4} nodes did not come back by themselves, and were started again", self.stuck)?;
        writeln!(f, "{:>4} reconnects", self.reconnects)?;
        writeln!(f, "\nthe longest time in which one got nothing done:")?;
        for (kind, longest) in &self.longest {
            writeln!(f, "{:>6.1} s {kind}", longest.as_secs_f64())?;
        }
        writeln!(f, "\nbefore:  {}", self.before)?;
        writeln!(f, "warm:    {}", self.warm)?;
        writeln!(f, "at end:  {}", self.end)?;
        writeln!(f, "closed:  {}\n", self.after)?;
        self.wrong.iter().try_for_each(|wrong| writeln!(f, "WRONG: {wrong}"))?;
        writeln!(f, "{} wrong", self.wrong.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(change: impl FnOnce(&mut Report)) -> Vec<String> {
        let one = Footprint { resident: 50 << 20, descriptors: 20, threads: 4, tasks: 2 };
        let (before, warm, end, after) = (one, one, one, one);
        let mut report = Report { before, warm, end, after, ..Report::default() };
        change(&mut report);
        report.check_footprints();
        report.wrong
    }

    #[test]
    fn what_grows_or_is_left_is_told() {
        assert_eq!(report(|_| {}), Vec::<String>::new());
        assert_eq!(report(|report| report.end.resident *= 3).len(), 1);
        assert_eq!(report(|report| report.end.descriptors += 100).len(), 1);
        assert_eq!(report(|report| report.after.descriptors += 1).len(), 1);
        assert_eq!(report(|report| report.after.tasks += 1).len(), 1);
    }
}
