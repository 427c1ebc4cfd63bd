//! Where a message goes: a queue's list, or the delay before it.

mod dead_letter;
mod place;
mod put;

pub(crate) use self::{
    dead_letter::dead_letter,
    place::{Expiry, How, Place, aside, delayed_key, expire, place},
    put::{add_put, put},
};
