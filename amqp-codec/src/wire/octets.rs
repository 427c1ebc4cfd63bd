//! Parsers of fields at the front of a slice. Every reader of this crate is built from them, and
//! they are built from nom's `take`.
//!
//! Each is written once for both of nom's modes. With [`nom::Complete`] a truncated field is
//! [`Error::Truncated`], which names it; with [`nom::Streaming`] it is `Incomplete`, which says how
//! many octets are missing. A number is taken whole and converted with `from_be_bytes`, because
//! nom's own number parsers add octet by octet.

use nom::{
    Complete, Emit, Err, IResult, IsStreaming, Needed, OutputM, Parser as _, Streaming, bytes::take,
    error::ParseError,
};

use crate::{error::Error, wire::field::FieldKind};

/// The rest of the input, and the field.
pub(crate) type Parsed<'a, T, E = Error> = IResult<&'a [u8], T, E>;

/// How a parser behaves at the end of its input, and how it reports errors.
pub(crate) trait Mode {
    type Input: IsStreaming;
    type Error: Failure;
}

impl Mode for Complete {
    type Input = Complete;
    type Error = Error;
}

impl Mode for Streaming {
    type Input = Streaming;
    type Error = Error;
}

/// As [`Complete`], but errors carry no details. The hot path uses it: it needs to know only that
/// something is wrong, and then parses again for the details. A detailed error would enlarge every
/// result on the way.
pub(crate) struct Silent;

impl Mode for Silent {
    type Input = Complete;
    type Error = ();
}

/// An error type that can be made from this crate's error.
pub(crate) trait Failure: for<'a> ParseError<&'a [u8]> {
    fn new(error: impl FnOnce() -> Error) -> Self;
}

impl Failure for Error {
    #[inline]
    fn new(error: impl FnOnce() -> Error) -> Self {
        error()
    }
}

impl Failure for () {
    #[inline]
    fn new(_: impl FnOnce() -> Error) -> Self {}
}

/// A failure after which nom tries no alternative parser.
#[inline]
pub(crate) fn failed<E: Failure>(error: impl FnOnce() -> Error) -> Err<E> {
    Err::Error(E::new(error))
}

/// Takes `count` octets.
#[inline]
pub(crate) fn octets<M: Mode>(
    count: usize,
    what: &'static str,
) -> impl Fn(&[u8]) -> Parsed<'_, &[u8], M::Error> {
    move |input: &[u8]| {
        // `take` compares as well, but it returns the count of missing octets in place of the count
        // to take. Without this comparison, all input would be cut where that one number says,
        // which costs a tenth of the instructions to read a delivery.
        if input.len() < count {
            let missing = Needed::new(count - input.len());
            return Err(M::Input::incomplete(missing, || M::Error::new(|| truncated(what, count, input))));
        }
        take(count).process::<OutputM<Emit, Emit, M::Input>>(input)
    }
}

/// Reads as many octets as the array holds.
#[inline]
pub(crate) fn array<M: Mode, const N: usize>(
    what: &'static str,
) -> impl Fn(&[u8]) -> Parsed<'_, [u8; N], M::Error> {
    move |input: &[u8]| {
        let (rest, octets) = octets::<M>(N, what)(input)?;
        match octets.first_chunk() {
            Some(octets) => Ok((rest, *octets)),
            None => Err(failed(|| truncated(what, N, octets))),
        }
    }
}

/// An octet.
#[inline]
pub(crate) fn octet<M: Mode>(what: &'static str) -> impl Fn(&[u8]) -> Parsed<'_, u8, M::Error> {
    move |input: &[u8]| array::<M, 1>(what).map(u8::from_be_bytes).parse(input)
}

/// A number of 16 bits.
#[inline]
pub(crate) fn short<M: Mode>(what: &'static str) -> impl Fn(&[u8]) -> Parsed<'_, u16, M::Error> {
    move |input: &[u8]| array::<M, 2>(what).map(u16::from_be_bytes).parse(input)
}

/// A number of 32 bits.
#[inline]
pub(crate) fn long<M: Mode>(what: &'static str) -> impl Fn(&[u8]) -> Parsed<'_, u32, M::Error> {
    move |input: &[u8]| array::<M, 4>(what).map(u32::from_be_bytes).parse(input)
}

/// A number of 64 bits.
#[inline]
pub(crate) fn long_long<M: Mode>(what: &'static str) -> impl Fn(&[u8]) -> Parsed<'_, u64, M::Error> {
    move |input: &[u8]| array::<M, 8>(what).map(u64::from_be_bytes).parse(input)
}

/// The bytes of a short string, or of anything behind a length of one octet.
#[inline]
pub(crate) fn short_string<M: Mode>(what: &'static str) -> impl Fn(&[u8]) -> Parsed<'_, &[u8], M::Error> {
    move |input: &[u8]| {
        let (rest, length) = octet::<M>(what)(input)?;
        octets::<M>(usize::from(length), what)(rest)
    }
}

/// The bytes of a long string, or of anything behind a length of four octets.
#[inline]
pub(crate) fn long_string<M: Mode>(what: &'static str) -> impl Fn(&[u8]) -> Parsed<'_, &[u8], M::Error> {
    move |input: &[u8]| {
        let (rest, length) = long::<M>(what)(input)?;
        octets::<M>(length as usize, what)(rest)
    }
}

/// Takes the contents of a field of this kind, without its length. A bit is taken with its whole
/// octet.
#[inline]
pub(crate) fn field<M: Mode>(
    kind: FieldKind,
    what: &'static str,
) -> impl Fn(&[u8]) -> Parsed<'_, &[u8], M::Error> {
    move |input: &[u8]| match kind {
        FieldKind::Bit | FieldKind::Octet => octets::<M>(1, what)(input),
        FieldKind::Short => octets::<M>(2, what)(input),
        FieldKind::Long => octets::<M>(4, what)(input),
        FieldKind::LongLong => octets::<M>(8, what)(input),
        FieldKind::ShortString => short_string::<M>(what)(input),
        FieldKind::LongString | FieldKind::Table => long_string::<M>(what)(input),
    }
}

/// The front of `all` up to `rest`, which is the end of `all`.
#[inline]
pub(crate) fn between<'a>(all: &'a [u8], rest: &[u8]) -> &'a [u8] {
    all.get(..all.len() - rest.len()).unwrap_or_default()
}

/// Checks that nothing is left.
///
/// # Errors
/// [`Error::TrailingBytes`].
#[inline]
pub(crate) fn end(rest: &[u8], what: &'static str) -> Result<(), Error> {
    if rest.is_empty() { Ok(()) } else { Err(Error::TrailingBytes { what, count: rest.len() }) }
}

/// Splits off `count` octets from complete input. Tables are stepped over with it, value by value.
#[inline]
pub(crate) fn split<'a>(
    bytes: &'a [u8],
    count: usize,
    what: &'static str,
) -> Result<(&'a [u8], &'a [u8]), Error> {
    octets::<Silent>(count, what)(bytes).map_err(|_| truncated(what, count, bytes))
}

/// As [`split`], for as many octets as the array has.
#[inline]
pub(crate) fn split_array<'a, const N: usize>(
    bytes: &'a [u8],
    what: &'static str,
) -> Result<(&'a [u8], [u8; N]), Error> {
    array::<Silent, N>(what)(bytes).map_err(|_| truncated(what, N, bytes))
}

/// Turns the result of a parser of complete input into this crate's error.
#[inline]
pub(crate) fn complete<T>(parsed: Result<T, Err<Error>>) -> Result<T, Error> {
    parsed.map_err(|error| match error {
        Err::Error(error) | Err::Failure(error) => error,
        // Only streaming parsers return `Incomplete`.
        Err::Incomplete(_) => Error::Truncated { what: "input", needed: 1, left: 0 },
    })
}

/// As [`complete`], for a parser that may ask for more input: `None` then.
#[inline]
pub(crate) fn streaming<T>(parsed: Result<T, Err<Error>>) -> Result<Option<T>, Error> {
    match parsed {
        Ok(parsed) => Ok(Some(parsed)),
        Err(Err::Incomplete(_)) => Ok(None),
        Err(Err::Error(error) | Err::Failure(error)) => Err(error),
    }
}

/// Takes a field off the front of `rest`, which is complete.
#[inline]
pub(crate) fn next<'a, T>(
    rest: &mut &'a [u8],
    mut parser: impl FnMut(&'a [u8]) -> Parsed<'a, T>,
) -> Result<T, Error> {
    let (after, value) = complete(parser(rest))?;
    *rest = after;
    Ok(value)
}

#[cold]
pub(crate) fn truncated(what: &'static str, needed: usize, rest: &[u8]) -> Error {
    Error::Truncated { what, needed, left: rest.len() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_that_is_cut_off_is_named_or_asked_for() {
        let text = b"\x05hello!";
        assert_eq!(short_string::<Complete>("name")(text), Ok((&b"!"[..], &b"hello"[..])));
        for left in 0..5 {
            let cut = &text[..1 + left];
            let error = Error::Truncated { what: "name", needed: 5, left };
            assert_eq!(short_string::<Complete>("name")(cut), Err(Err::Error(error)));
            assert_eq!(short_string::<Streaming>("name")(cut), Err(Err::Incomplete(Needed::new(5 - left))));
        }
        let error = Error::Truncated { what: "name", needed: 4, left: 3 };
        assert_eq!(long_string::<Complete>("name")(&[0; 3]), Err(Err::Error(error)));
        assert_eq!(long_string::<Streaming>("name")(&[0; 3]), Err(Err::Incomplete(Needed::new(1))));
    }

    #[test]
    fn numbers_are_big_endian() {
        let bytes = [1, 2, 3, 4, 5, 6, 7, 8, 9];
        assert_eq!(octet::<Complete>("n")(&bytes).map(|(_, n)| n), Ok(1));
        assert_eq!(short::<Complete>("n")(&bytes).map(|(_, n)| n), Ok(0x0102));
        assert_eq!(long::<Complete>("n")(&bytes).map(|(_, n)| n), Ok(0x0102_0304));
        assert_eq!(long_long::<Complete>("n")(&bytes), Ok((&bytes[8..], 0x0102_0304_0506_0708)));
    }
}
