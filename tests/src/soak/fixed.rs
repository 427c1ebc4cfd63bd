//! Bodies of many sizes, which follow from a number.

/// The most octets behind the number.
const MOST: usize = 1024;
const NUMBER: usize = size_of::<u64>();

/// Returns the body of a message: its number, and octets that follow from it.
pub(super) fn body_of(number: u64) -> Vec<u8> {
    let mut body = Vec::with_capacity(NUMBER + filling(number).len());
    body.extend_from_slice(&number.to_le_bytes());
    body.extend_from_slice(filling(number));
    body
}

/// Returns the number of a body, if it is right.
pub(super) fn number_of(body: &[u8]) -> Option<u64> {
    let (number, rest) = body.split_first_chunk()?;
    let number = u64::from_le_bytes(*number);
    (rest == filling(number)).then_some(number)
}

/// A part of a fixed text: most are short, and one in 64 long.
fn filling(number: u64) -> &'static [u8] {
    static TEXT: [u8; 2 * MOST] = text();
    let (begin, spread) = ((number % 251) as usize, (number.wrapping_mul(37) % MOST as u64) as usize);
    let length = if number.is_multiple_of(64) { spread } else { spread % 128 };
    TEXT.get(begin..begin + length).unwrap_or_default()
}

const fn text() -> [u8; 2 * MOST] {
    let mut text = [0; 2 * MOST];
    let mut place = 0;
    while place < text.len() {
        text[place] = (place * 31 + place / 7) as u8;
        place += 1;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_that_of_its_number_alone() {
        assert!((0..10_000).all(|number| number_of(&body_of(number)) == Some(number)));
        let mut body = body_of(64 * 7);
        *body.last_mut().unwrap() ^= 1;
        assert_eq!([number_of(&body), number_of(b""), number_of(&[1; 8])], [None; 3]);
    }
}
