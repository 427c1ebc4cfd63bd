//! Where a message goes: a queue's list, or the delay before it.

mod dead_letter;
mod place;
mod put;

pub(crate) use self::{
    dead_letter::dead_letter,
    place::{How, Place, aside, delayed_key, expire, list_lifetime, place},
    put::{add_put, put},
};
