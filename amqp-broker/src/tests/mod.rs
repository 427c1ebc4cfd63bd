//! The broker as a client sees it, over the in-process stream.

mod access;
mod anything;
mod behaviour;
mod both;
mod dead_letters;
mod differential;
mod durability;
mod errors;
mod faults;
mod greeting;
mod inspection;
mod limits;
mod peer;
mod reply_to;
mod streams;
