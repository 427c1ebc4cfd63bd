//! Breaking what is valid, on four levels.

mod arguments;
mod bytes;
pub(crate) mod change;
mod frames;
pub(crate) mod mutator;
mod order;
