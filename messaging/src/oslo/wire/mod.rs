//! Envelopes, topics and the names of queues, in oslo.messaging's form.

pub(crate) mod context;
pub(crate) mod duplicates;
pub(crate) mod entity_serializer;
pub(crate) mod envelope;
pub(crate) mod fingerprint;
pub(crate) mod id;
pub(crate) mod target;
