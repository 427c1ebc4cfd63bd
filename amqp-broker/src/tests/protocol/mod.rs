//! How connections open and close, who may do what, and what is refused.

mod access;
mod accounts;
mod closing;
mod differential;
mod errors;
mod frames;
mod greeting;
