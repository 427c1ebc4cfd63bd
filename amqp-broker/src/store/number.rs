//! The number that every batch carries: they are counted, so that none can be missing unseen.

/// The key under which a batch has its number: longer than that of any exchange, queue or body,
/// shorter than that of any message or binding.
pub(super) const KEY: &[u8] = b"batch number";

/// What the numbers of a folder carry and nobody else knows: what a client publishes cannot be
/// taken for a batch.
pub(super) type Secret = [u8; 16];

/// A number as it is written.
pub(super) fn value(number: u64, secret: &Secret) -> [u8; 24] {
    let mut value = [0; 24];
    let (first, second) = value.split_at_mut(8);
    first.copy_from_slice(&number.to_be_bytes());
    second.copy_from_slice(secret);
    value
}

/// Reads a number; `None` when it is none, or not of this folder.
pub(super) fn read(key: &[u8], value: &[u8], secret: Option<&Secret>) -> Option<u64> {
    let (number, found) = value.split_first_chunk::<8>()?;
    let is_ours = key == KEY && secret.is_none_or(|secret| secret == found);
    is_ours.then(|| u64::from_be_bytes(*number))
}
