//! Notifications. Their public names are in `crate::notify`.

pub(crate) mod driver;
pub mod drivers;
pub(crate) mod emit;
pub(crate) mod level;
pub(crate) mod listen;
pub(crate) mod notification;
pub(crate) mod timestamp;
pub(crate) mod wire;
