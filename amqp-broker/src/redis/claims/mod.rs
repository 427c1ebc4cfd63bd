//! Claimed messages: taken, settled, returned.

mod claim;
mod haul;
mod holding;
mod lock;
mod moved;
mod moves;
mod restore;
mod returned;
mod settle;
mod stale;
mod take;
mod transaction;

pub use self::claim::RedisClaim;
pub(crate) use self::{
    claim::claim,
    holding::renew_claims,
    lock::lock_lifetime,
    restore::{Unroutable, restore_once},
    returned::return_claims,
    settle::settle,
};
