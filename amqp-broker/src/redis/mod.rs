//! A backend on Redis, with the keys, envelopes and commands of kombu's Redis transport.

mod envelope;
mod options;
mod wire;
