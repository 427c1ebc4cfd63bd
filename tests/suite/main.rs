//! The integration suite, which is one binary so that it links once.

// Clippy lets only the bodies of tests unwrap; their helpers fail a test in the same way.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod broker;
mod cli;
mod client;
mod codec;
mod every_broker;
mod failing_disk;
mod interop;
mod log;
mod management;
mod messaging;
mod power_loss;
mod recovery;
mod scripted;
mod simulation;
mod soak;
mod tidy;
