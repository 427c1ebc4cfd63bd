//! Connections to Redis: what their errors mean, and what they carry.

mod authentication;
mod client;
mod dial;
mod failure;
mod listen;
mod repeatable;
mod scripts;
mod seat;
mod sentinels;
mod spares;
mod tls;
mod transaction;
mod version;

pub(crate) use self::{
    authentication::authentication,
    dial::Dialer,
    failure::{backend_error, is_forbidden, is_lost},
    repeatable::is_repeatable,
    scripts::{claim_script, drop_script, due_script, move_script, renew_script},
    seat::{Seat, seated},
    spares::{Spare, Spares},
    transaction::{Decision, transact},
    version::check_server,
};
