//! A connection that is lost and comes back, against a scripted peer under a clock that the test
//! holds, and against brokers behind a proxy that cuts.

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
