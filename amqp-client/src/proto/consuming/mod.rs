//! Deliveries, until they are settled.

pub(crate) mod acks;
pub(crate) mod consumers;
pub(crate) mod delivery;
pub(crate) mod holders;
pub(crate) mod inbox;
pub(crate) mod subscription;
