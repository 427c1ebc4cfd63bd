//! The simulation: a broker, its clients and the network between them in one thread, under a clock
//! that does not run by itself. All of it follows from a seed, so that a run that fails can be
//! repeated.

mod account;
mod client;
mod consumer;
mod disturb;
mod generate;
mod lives;
mod network;
mod own_topology;
mod program;
mod publishing;
mod repeatable;
mod run;
mod scenario;
mod service;
mod shrink;
mod steps;
mod topology;
mod transcript;
mod world;

pub use program::main;
