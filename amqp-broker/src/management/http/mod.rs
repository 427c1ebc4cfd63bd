//! Connections of HTTP, from accept to the last answer.

mod listening;
mod patient;

pub(crate) use self::listening::accept;
#[cfg(feature = "fuzzing")]
pub(crate) use self::listening::serve;
