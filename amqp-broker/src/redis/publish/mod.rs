//! Publishing: where messages go, and putting them there.

mod batch;
mod delayed;
mod publication;
mod routing;

pub(crate) use self::{
    delayed::{Mover, note_retry_queue},
    publication::publish,
    routing::{exchange_kind, unknown_exchange},
};
