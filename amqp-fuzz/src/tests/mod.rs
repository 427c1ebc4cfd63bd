//! Tests of several files at once.

mod against_the_broker;
mod against_the_server;
