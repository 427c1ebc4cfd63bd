//! Captures of networks: the frames that TCP connections carried.

pub(crate) mod boundary;
pub(crate) mod connections;
pub(crate) mod direction;
pub(crate) mod error;
pub(crate) mod frames;
mod packets;
mod segment;
pub(crate) mod told;

#[cfg(test)]
mod tests;
