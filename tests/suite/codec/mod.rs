//! The codec from outside: values through bytes and back, malformed bytes, recorded sessions, the
//! specification.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests, too")]

mod arbitrary;
mod body;
mod golden;
mod hostile;
mod limits;
mod parity;
mod reference;
mod round_trip;
