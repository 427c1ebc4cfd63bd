//! The number that every batch carries. Batches are counted, so that a missing one is noticed.

/// The key of a batch's number: longer than the key of an exchange, queue or body, shorter than
/// that of a message or binding.
pub(super) const KEY: &[u8] = b"batch number";

/// The secret of a folder, which its batch numbers carry: nothing that a client publishes can be
/// taken for a batch.
pub(super) type Secret = [u8; 16];

/// The encoded number.
pub(super) fn value(number: u64, secret: &Secret) -> [u8; 24] {
    let mut value = [0; 24];
    let (first, second) = value.split_at_mut(8);
    first.copy_from_slice(&number.to_be_bytes());
    second.copy_from_slice(secret);
    value
}

/// Reads a number; `None` when it is malformed, or of another folder.
pub(super) fn read(key: &[u8], value: &[u8], secret: Option<&Secret>) -> Option<u64> {
    let (number, found) = value.split_first_chunk::<8>()?;
    let is_ours = key == KEY && secret.is_none_or(|secret| secret == found);
    is_ours.then(|| u64::from_be_bytes(*number))
}
