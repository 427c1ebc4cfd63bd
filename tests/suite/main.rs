//! The integration suite: one binary, so that it links once.

mod client;
mod codec;
mod engine;
mod tidy;
