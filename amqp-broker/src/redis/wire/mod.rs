//! Kombu's keys on Redis, without IO.

#![allow(dead_code, unused_imports, reason = "the commands that use them are not all written")]

mod keys;

pub(crate) use self::keys::{KeyOptions, Keys};
pub(crate) use crate::kombu::{
    binding_member::{BindingMember, BindingTable, SeparatorInside, binding_lifetime},
    priorities::{PriorityOrder, PrioritySteps},
};
