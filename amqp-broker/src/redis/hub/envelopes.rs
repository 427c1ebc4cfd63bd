//! Reading and writing messages.

use super::shared::{Hub, now_seconds};
use crate::{
    backend::{BackendError, Message},
    kombu::envelope::{self, ClaimEntry, EncodedEnvelope, Envelope, EnvelopeError},
};

impl Hub {
    /// Reads a message.
    pub(crate) fn read_envelope(&self, raw: &[u8]) -> Result<Envelope, EnvelopeError> {
        envelope::decode(raw, self.options.priority_order())
    }

    /// Writes a message, with a delivery tag that no other has.
    ///
    /// # Errors
    /// [`BackendError::PreconditionFailed`] for what JSON cannot hold.
    pub(crate) fn write_envelope(&self, message: &Message) -> Result<EncodedEnvelope, BackendError> {
        let written = self.encoder.lock().encode(message, now_seconds());
        written.map_err(|error| BackendError::PreconditionFailed(error.to_string()))
    }

    /// Gives a copy of a message a delivery tag of its own.
    pub(crate) fn retag(&self, envelope: &mut EncodedEnvelope) {
        self.encoder.lock().retag(envelope);
    }

    /// What follows a message from a queue in its claim.
    pub(crate) fn claim_tail(queue: &str) -> Vec<u8> {
        envelope::claim(b"", queue).split_off(1)
    }

    /// Reads a claim.
    pub(crate) fn read_claim(raw: &[u8]) -> Option<ClaimEntry<'_>> {
        envelope::decode_claim(raw).ok()
    }

    /// A message marked as redelivered.
    pub(crate) fn redelivered(raw: &[u8]) -> Option<Vec<u8>> {
        envelope::mark_redelivered(raw).ok()
    }
}
