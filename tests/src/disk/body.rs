//! The bodies of messages: each follows from its number, so that a wrong one is noticed.

use fastrand::Rng;

/// The sizes of bodies beside the number; those over 4 KiB are stored apart from their messages.
const SIZES: [usize; 6] = [20, 20, 200, 700, 5_000, 40_000];

/// The body of the message of this number in this virtual host.
pub(super) fn body(vhost: usize, number: u64) -> Vec<u8> {
    let mut random = Rng::with_seed(number << 8 | vhost as u64);
    let size = SIZES[random.usize(..SIZES.len())];
    let mut body = number.to_be_bytes().to_vec();
    let fill = |_| random.u8(..);
    body.extend((0..size).map(fill));
    body
}

/// The number of the message with this body.
pub(super) fn number(vhost: usize, octets: &[u8]) -> Option<u64> {
    let number = u64::from_be_bytes(*octets.first_chunk()?);
    (number < 1 << 32 && body(vhost, number) == octets).then_some(number)
}
