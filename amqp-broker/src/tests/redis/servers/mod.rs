//! Servers of several kinds: without scripts, with the second version of the protocol, behind
//! sentinels.

mod plain;
mod second;
mod sentinels;
