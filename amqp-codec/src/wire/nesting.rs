//! Stepping over encoded values without building them. Tables are checked this way once, with a cap
//! on their nesting.

use crate::{
    error::Error,
    wire::octets::{split, split_array},
};

/// How deep tables and arrays may nest.
pub const MAX_DEPTH: u8 = 32;

/// Steps over one value without building it. Returns what follows it and how deep it nests.
pub(crate) fn skip(bytes: &[u8], depth: u8) -> Result<(&[u8], u8), Error> {
    let (tag, value, rest) = split_value(bytes)?;
    let reached = match tag {
        b'A' => check_array(value, deeper(depth)?)?,
        b'F' => check_table(value, deeper(depth)?)?,
        _ => depth,
    };
    Ok((rest, reached))
}

/// Splits the first value into its tag and its contents, which are not checked, and the rest.
fn split_value(bytes: &[u8]) -> Result<(u8, &[u8], &[u8]), Error> {
    let (rest, [tag]) = split_array(bytes, "field type")?;
    let length = match tag {
        b't' | b'b' | b'B' => 1,
        b's' | b'u' => 2,
        b'I' | b'i' | b'f' => 4,
        b'D' => 5,
        b'l' | b'L' | b'd' | b'T' => 8,
        b'V' => 0,
        b'S' | b'x' | b'A' | b'F' => {
            let (rest, length) = split_array(rest, "length")?;
            let (rest, value) = split(rest, u32::from_be_bytes(length) as usize, "field value")?;
            return Ok((tag, value, rest));
        }
        other => return Err(Error::UnknownFieldType(other)),
    };
    let (rest, value) = split(rest, length, "field value")?;
    Ok((tag, value, rest))
}

/// Checks every entry of an encoded table that itself is at `depth`; returns the depth of its
/// deepest part.
pub(crate) fn check_table(mut bytes: &[u8], depth: u8) -> Result<u8, Error> {
    let mut deepest = depth;
    while let Some(value) = after_name(bytes)? {
        let (rest, reached) = skip(value, depth)?;
        deepest = deepest.max(reached);
        bytes = rest;
    }
    Ok(deepest)
}

/// Checks the entries of an encoded table, but not what is nested in their values.
pub(crate) fn check_entries(mut bytes: &[u8]) -> Result<(), Error> {
    while let Some(value) = after_name(bytes)? {
        bytes = split_value(value)?.2;
    }
    Ok(())
}

/// As [`check_entries`], for an array.
pub(crate) fn check_elements(mut bytes: &[u8]) -> Result<(), Error> {
    while !bytes.is_empty() {
        bytes = split_value(bytes)?.2;
    }
    Ok(())
}

/// The bytes after the first entry's name; `None` when there is no entry.
fn after_name(bytes: &[u8]) -> Result<Option<&[u8]>, Error> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let (rest, [length]) = split_array(bytes, "field name")?;
    let (value, _name) = split(rest, usize::from(length), "field name")?;
    Ok(Some(value))
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

/// The next depth, or the error of the cap.
pub(crate) fn deeper(depth: u8) -> Result<u8, Error> {
    if depth >= MAX_DEPTH { Err(Error::TooDeep { limit: MAX_DEPTH }) } else { Ok(depth + 1) }
}
