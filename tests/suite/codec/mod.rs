//! The codec from outside: whole values through bytes and back, broken bytes, recorded sessions,
//! the specification.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests, too")]

mod arbitrary;
mod body;
mod golden;
mod hostile;
mod limits;
mod parity;
mod reference;
mod round_trip;
