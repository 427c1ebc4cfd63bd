//! Servers of several kinds: without scripts, with the second version of the protocol, behind
//! sentinels, and servers that cannot do what is needed.

mod plain;
mod second;
mod sentinels;
mod unfit;
