//! Redis under load while processes die: workers, Redis itself, and a master with its sentinels;
//! and while Redis serves nobody. And the ways to a Redis, and TLS.

mod commands;
mod cuts;
mod failover;
mod kills;
mod load;
mod refused;
mod replicas;
mod tls;
mod unfit;
mod ways;
