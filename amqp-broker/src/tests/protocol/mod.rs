//! Tests of the protocol: opening and closing, permissions, refusals.

mod access;
mod accounts;
mod closing;
mod differential;
mod errors;
mod frames;
mod greeting;
mod topics;
