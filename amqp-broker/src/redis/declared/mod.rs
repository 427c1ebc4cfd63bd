//! What is kept in Redis of declarations, and their comparison with later ones.

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
