//! The periods in which a gateway looks after Redis.

use std::time::Duration;

/// Times that no option changes.
#[derive(Clone, Debug)]
pub(crate) struct Periods {
    /// The time between two looks at the queues, in case that a notice of Redis was lost.
    pub(crate) look: Duration,
    /// The time between two removals of bindings that nobody renews any more, as in kombu.
    pub(crate) sweep: Duration,
    /// The time between two renewals of bindings and declarations: a third of the shortest time
    /// that they live.
    pub(crate) renew: Duration,
}

impl Default for Periods {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Periods { look: seconds(10), sweep: seconds(60), renew: seconds(1200) }
    }
}
