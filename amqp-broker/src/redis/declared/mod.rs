//! Declarations as they are kept in Redis, and their comparison with later ones.

mod exchange;
mod holder;
mod queue;
mod refusals;

pub(crate) use self::{
    exchange::DeclaredExchange,
    holder::{Holder, Owner},
    queue::Declared,
    refusals::VHOST,
};
