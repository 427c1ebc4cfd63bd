//! Messages as kombu's Redis transport writes them into lists and channels: objects of JSON.

#![allow(dead_code, unused_imports, reason = "the commands that use them are not all written")]

mod claim;
mod constants;
mod decode;
mod encode;
mod error;
mod object;
mod read_table;
mod redelivered;
mod scalar;
mod tagged;
mod write_json;

pub(crate) use self::{
    claim::{ClaimEntry, claim, decode_claim},
    decode::{Envelope, decode, wire_priority},
    encode::{BodyEncoding, EncodedEnvelope, EnvelopeEncoder},
    error::{EnvelopeError, NotText},
    redelivered::mark_redelivered,
};

#[cfg(test)]
mod round_trip;
#[cfg(test)]
mod tests;
