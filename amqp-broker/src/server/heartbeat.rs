//! Heartbeats.

use std::time::Duration;

use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

/// The timer of heartbeats: it ticks twice in each agreed interval.
pub(crate) struct Heartbeat {
    ticks: Option<Interval>,
    silent: u8,
}

impl Heartbeat {
    pub(crate) fn new(seconds: u16) -> Self {
        let period = Duration::from_secs(seconds.into()) / 2;
        let ticks = (seconds > 0).then(|| {
            let mut ticks = interval_at(Instant::now() + period, period);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks
        });
        Heartbeat { ticks, silent: 0 }
    }

    /// Waits for the next tick.
    pub(crate) async fn beat(&mut self) {
        match &mut self.ticks {
            Some(ticks) => {
                ticks.tick().await;
            }
            None => std::future::pending().await,
        }
    }

    /// Tells whether the client counts as alive; `heard` says whether anything came since the last
    /// tick.
    pub(crate) fn lives(&mut self, heard: bool) -> bool {
        self.silent = if heard { 0 } else { self.silent + 1 };
        self.silent < 5
    }
}
