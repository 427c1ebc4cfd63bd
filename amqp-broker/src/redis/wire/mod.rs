//! Kombu's keys, priorities and bindings on Redis, without IO.

#![allow(dead_code, unused_imports, reason = "the commands that use them are not all written")]

mod binding_member;
mod keys;
mod priorities;

pub(crate) use self::{
    binding_member::{BindingMember, BindingTable, SeparatorInside, binding_lifetime},
    keys::{KeyOptions, Keys},
    priorities::{PriorityOrder, PrioritySteps},
};
