//! Kombu's keys, priorities and bindings on Redis, without IO.

#![allow(dead_code, unused_imports, reason = "the commands that use them are not all written")]

mod keys;
mod priorities;

pub(crate) use self::{
    keys::{KeyOptions, Keys},
    priorities::{PriorityOrder, PrioritySteps},
};
