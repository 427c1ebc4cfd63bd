//! Tests of durability: queues and messages survive the process.

mod damage;
mod durability;
mod lists;
mod restarts;
