//! These tests check the invariants of a virtual host, whatever clients ask of it: operations in
//! any order, divided into turns, and transactions that are interrupted.

mod anything;
mod commits;
mod entangled;
mod pauses;
mod turns;
mod waiting;
