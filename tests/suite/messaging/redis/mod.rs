//! Redis under load while processes die: workers, Redis itself, and a master with its sentinels;
//! and while Redis serves nobody.

mod failover;
mod kills;
mod load;
mod unfit;
