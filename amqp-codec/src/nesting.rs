//! Stepping over encoded values without building them: how tables are checked once, with a cap on their nesting.

use crate::error::Error;

/// How deep tables and arrays may be nested in one another.
pub const MAX_DEPTH: u8 = 32;

/// Steps over one value without building it. Returns what follows it and how deep it nests.
pub(crate) fn skip(bytes: &[u8], depth: u8) -> Result<(&[u8], u8), Error> {
    let (&tag, rest) = bytes.split_first().ok_or(truncated("field type", 1, 0))?;
    let fixed = match tag {
        b't' | b'b' | b'B' => 1,
        b's' | b'u' => 2,
        b'I' | b'i' | b'f' => 4,
        b'D' => 5,
        b'l' | b'L' | b'd' | b'T' => 8,
        b'V' => 0,
        b'S' | b'x' => return Ok((split_sized(rest)?.1, depth)),
        b'A' => {
            let (inner, rest) = split_sized(rest)?;
            return Ok((rest, check_array(inner, deeper(depth)?)?));
        }
        b'F' => {
            let (inner, rest) = split_sized(rest)?;
            return Ok((rest, check_table(inner, deeper(depth)?)?));
        }
        other => return Err(Error::UnknownFieldType(other)),
    };
    match rest.split_at_checked(fixed) {
        Some((_, rest)) => Ok((rest, depth)),
        None => Err(truncated("field value", fixed, rest.len())),
    }
}

/// Checks every entry of an encoded table that itself is at `depth`; returns the depth of its deepest part.
pub(crate) fn check_table(mut bytes: &[u8], depth: u8) -> Result<u8, Error> {
    let mut deepest = depth;
    while let Some((&length, rest)) = bytes.split_first() {
        let length = usize::from(length);
        let (_key, rest) =
            rest.split_at_checked(length).ok_or(truncated("field name", length, rest.len()))?;
        let (rest, reached) = skip(rest, depth)?;
        deepest = deepest.max(reached);
        bytes = rest;
    }
    Ok(deepest)
}

/// As [`check_table`], for an array.
pub(crate) fn check_array(mut bytes: &[u8], depth: u8) -> Result<u8, Error> {
    let mut deepest = depth;
    while !bytes.is_empty() {
        let (rest, reached) = skip(bytes, depth)?;
        deepest = deepest.max(reached);
        bytes = rest;
    }
    Ok(deepest)
}

/// One level down, or the cap's error.
pub(crate) fn deeper(depth: u8) -> Result<u8, Error> {
    if depth >= MAX_DEPTH { Err(Error::TooDeep { limit: MAX_DEPTH }) } else { Ok(depth + 1) }
}

fn split_sized(bytes: &[u8]) -> Result<(&[u8], &[u8]), Error> {
    let (length, rest) = bytes.split_first_chunk::<4>().ok_or(truncated("length", 4, bytes.len()))?;
    let length = u32::from_be_bytes(*length) as usize;
    rest.split_at_checked(length).ok_or(truncated("field value", length, rest.len()))
}

fn truncated(what: &'static str, needed: usize, left: usize) -> Error {
    Error::Truncated { what, needed, left }
}
