//! The broker as a client sees it, over the in-process stream.

mod behaviour;
mod errors;
mod greeting;
mod peer;
