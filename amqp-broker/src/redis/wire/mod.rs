//! Kombu's keys on Redis, without IO.

mod keys;

pub(crate) use self::keys::{KeyOptions, Keys};
pub(crate) use crate::kombu::binding_member::{BindingMember, BindingTable, binding_lifetime};
