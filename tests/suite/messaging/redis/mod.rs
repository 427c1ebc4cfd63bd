//! Redis under load while processes die: workers, Redis itself, and a master with its sentinels.

mod failover;
mod kills;
mod load;
