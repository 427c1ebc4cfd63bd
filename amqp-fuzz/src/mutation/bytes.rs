//! Changes of bytes.

use crate::choices::Choices;

/// Octets that mean something in many places.
const TELLING: [u8; 10] = [0, 1, 0x7f, 0x80, 0xce, 0xff, b'F', b'S', b'A', b'#'];

/// How often a piece is repeated at most, so that a payload stays a payload.
const MOST_ADDED: usize = 64;

/// Changes bytes in one way. Returns what was done; `None` when there is nothing to change.
pub(super) fn mutate(bytes: &mut Vec<u8>, choices: &mut Choices<'_>) -> Option<String> {
    let length = bytes.len();
    let at = choices.below(length);
    match choices.below(7) {
        _ if length == 0 => {
            *bytes = choices.octets(4);
            Some("four bytes put into an empty payload".to_owned())
        }
        0 => {
            let bit = choices.below(8);
            *bytes.get_mut(at)? ^= 1 << bit;
            Some(format!("bit {bit} of byte {at} flipped"))
        }
        1 => {
            let octet = choices.octet();
            *bytes.get_mut(at)? = octet;
            Some(format!("byte {at} set to {octet:#04x}"))
        }
        2 => {
            let octet = *choices.pick(&TELLING)?;
            *bytes.get_mut(at)? = octet;
            Some(format!("byte {at} set to {octet:#04x}"))
        }
        3 => {
            bytes.truncate(at);
            Some(format!("cut to {at} bytes"))
        }
        4 => {
            let octet = choices.octet();
            bytes.insert(at, octet);
            Some(format!("{octet:#04x} inserted before byte {at}"))
        }
        5 => {
            bytes.remove(at);
            Some(format!("byte {at} removed"))
        }
        _ => {
            let piece = bytes.get(at..(at + MOST_ADDED).min(length))?.to_vec();
            let count = piece.len();
            bytes.splice(at..at, piece);
            Some(format!("{count} bytes from byte {at} doubled"))
        }
    }
}
