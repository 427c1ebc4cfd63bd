//! What survives the process.

mod damage;
mod durability;
mod restarts;
