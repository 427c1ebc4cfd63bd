//! Redis under load while processes die: workers, Redis itself, and a master with its sentinels;
//! and while Redis serves nobody. And TLS.

mod commands;
mod cuts;
mod failover;
mod kills;
mod load;
mod replicas;
mod tls;
mod unfit;
