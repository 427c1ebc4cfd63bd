//! Connections that are lost and recovered, with a scripted peer on a virtual clock, and with
//! brokers behind a proxy that cuts.

mod anything;
mod brokers;
mod channels;
mod cuts;
mod held;
mod load;
mod publishes;
mod reconnect;
mod reconnects;
mod resubscribe;
mod script;
mod session;
mod stalls;
mod too_large;
mod topology;
