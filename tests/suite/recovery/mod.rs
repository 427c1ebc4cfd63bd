//! A connection that is lost and comes back, against a scripted peer under a clock that the test holds, and against brokers
//! behind a proxy that cuts.

mod channels;
mod cuts;
mod publishes;
mod reconnect;
mod resubscribe;
mod script;
mod session;
mod topology;
