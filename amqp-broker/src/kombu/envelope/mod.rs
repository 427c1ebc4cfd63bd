//! Messages as kombu's Redis transport writes them into lists and channels: objects of JSON.

#[cfg(feature = "redis")]
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

#[cfg(feature = "redis")]
pub(crate) use self::{
    claim::{ClaimEntry, claim, decode_claim},
    decode::wire_priority,
    encode::EncodedEnvelope,
    error::EnvelopeError,
};
pub(crate) use self::{
    decode::{Envelope, decode},
    encode::{BodyEncoding, EnvelopeEncoder},
    redelivered::mark_redelivered,
};

#[cfg(test)]
#[cfg(feature = "redis")]
mod round_trip;
#[cfg(test)]
#[cfg(feature = "redis")]
mod tests;
