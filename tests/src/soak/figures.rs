//! The figures after each round, when nothing was in progress, and the verdict on their growth.

use std::{fmt, time::Duration};

use crate::footprint::Footprint;

/// The rounds after which everything has come to its usual size: pools are filled, and the ids of
/// calls and notifications that are remembered are as many as they may be.
const WARM_UP: usize = 4;
/// The growth that resident memory may have after that: an eighth and so many bytes.
const MEMORY: u64 = 8 << 20;

/// The figures after a round.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Figures {
    pub(super) messages: u64,
    pub(super) elapsed: Duration,
    pub(super) footprint: Footprint,
    /// The broker's account of memory, in bytes.
    pub(super) account: u64,
    pub(super) connections: usize,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Figures { messages, elapsed, footprint, account, connections } = self;
        let seconds = elapsed.as_secs_f64();
        write!(
            f,
            "{messages:>9} messages, {seconds:>5.0} s: {footprint}; broker: {account} bytes, {connections} connections"
        )
    }
}

/// Returns what is wrong with the figures of all rounds: nothing may grow after the warm-up.
pub(super) fn check(rounds: &[Figures]) -> Vec<String> {
    let mut wrong = Vec::new();
    let (Some(first), Some(last)) = (rounds.get(WARM_UP - 1), rounds.last()) else {
        return vec![format!("{} rounds are too few", rounds.len())];
    };
    let warm = first.footprint.resident;
    let most = rounds.iter().take(WARM_UP).map(|figures| figures.account).max().unwrap_or_default();
    if last.footprint.resident > warm + warm / 8 + MEMORY {
        wrong.push(format!("memory grew from {} to {}", first.footprint, last.footprint));
    }
    for figures in rounds {
        let counts = |figures: &Figures| {
            let Footprint { descriptors, threads, tasks, .. } = figures.footprint;
            [descriptors, threads, tasks, figures.connections]
        };
        // At rest the account has the buffers of connections, whose sizes follow the traffic.
        if counts(figures) != counts(first) || figures.account > 2 * most {
            wrong.push(format!("not the same as after the warm-up: {figures}"));
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(change: impl FnOnce(&mut Figures)) -> usize {
        let footprint = Footprint { resident: 80 << 20, descriptors: 20, threads: 4, tasks: 9 };
        let figures = Figures { footprint, account: 1000, connections: 7, ..Figures::default() };
        let mut rounds = [figures; 8];
        change(&mut rounds[7]);
        check(&rounds).len()
    }

    #[test]
    fn what_grows_is_told() {
        assert_eq!(wrong(|figures| figures.footprint.resident += 17 << 20), 0);
        assert_eq!(wrong(|figures| figures.footprint.resident += 19 << 20), 1);
        assert_eq!(wrong(|figures| figures.footprint.descriptors += 1), 1);
        assert_eq!(wrong(|figures| figures.footprint.threads += 1), 1);
        assert_eq!(wrong(|figures| figures.footprint.tasks += 1), 1);
        assert_eq!(wrong(|figures| figures.account += 1001), 1);
        assert_eq!(wrong(|figures| figures.connections += 1), 1);
        assert_eq!(check(&[]).len(), 1);
    }
}
