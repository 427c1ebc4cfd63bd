//! Connections to Redis: what their errors mean, and what they carry.

mod dial;
mod failure;
mod repeatable;
mod scripts;
mod seat;
mod sentinels;
mod spares;
mod tls;
mod transaction;

pub(crate) use self::{
    dial::{Dialer, authentication},
    failure::{backend_error, is_forbidden, is_lost},
    repeatable::is_repeatable,
    scripts::{claim_script, drop_script, due_script, move_script, renew_script},
    seat::{Seat, seated},
    spares::Spares,
    transaction::{Decision, transact},
};
