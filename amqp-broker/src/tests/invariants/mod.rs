//! What holds whatever is asked of the broker: in any order, divided into turns, and in
//! transactions that are interrupted.

mod anything;
mod commits;
mod entangled;
mod pauses;
mod turns;
mod waiting;
