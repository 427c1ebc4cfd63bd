//! All clients on the embedded broker, over TCP and in memory, with as many messages as are asked
//! for: whether everything arrives, and whether anything grows.

mod direct;
mod figures;
mod fixed;
mod link;
mod run;
mod services;
mod tally;

pub use run::{Request, run};
