//! Envelopes, topics and the names of queues, as oslo.messaging has them.

pub(crate) mod context;
pub(crate) mod duplicates;
pub(crate) mod entity_serializer;
pub(crate) mod envelope;
pub(crate) mod fingerprint;
pub(crate) mod id;
pub(crate) mod target;
pub(crate) mod topology;
