//! Bodies that are decompressed for work that is done side by side.

use std::borrow::Cow;

use super::compression::{Compression, named};
use crate::{
    compress::room::{Room, Taken},
    error::Malformed,
};

/// What the bodies of all that is worked on may have together, if nothing else is asked for: 256
/// MiB.
pub const DECOMPRESSED_TOTAL: u64 = 256 * 1024 * 1024;

/// How much larger than it came a body is taken to be at first, and how large at least.
const EXPECTED_RATIO: u64 = 32;
const EXPECTED_LEAST: u64 = 64 * 1024;
/// By what the room grows where it was too little.
const GROWTH: u64 = 4;
/// What becomes of a value of JSON, of which each but one has a comma, when its type is not known,
/// in bytes.
const VALUE: u64 = 32;

/// The bytes that bodies may have together once they are decompressed, for as long as they are
/// worked on.
///
/// Whoever waits for room holds none, and is not overtaken: two bodies never wait for each other.
/// What is worked on and has room may of course wait for work that waits for room, as it may for
/// one that waits for its turn.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    room: Room,
    total: u64,
}

/// A body as it was before its compression, with the room it has when there was one.
pub(crate) type Decompressed<'a> = (Cow<'a, [u8]>, Option<Taken>);

/// How an attempt with a certain room ended.
enum Attempt {
    Done(Result<Vec<u8>, Malformed>, Taken),
    /// So much is needed, or nearly: nothing is kept of what there was.
    Needs(u64),
}

impl Budget {
    /// So many bytes.
    pub(crate) fn new(total: u64) -> Self {
        Budget { room: Room::new(total), total }
    }

    /// The body as it was before the compression that its header names, when there is room for it.
    /// One that would have over `limit` bytes, or more than there is room for at all, is refused.
    pub(crate) async fn decompress<'a>(
        &self,
        compression: Option<&str>,
        body: &'a [u8],
        limit: u64,
    ) -> Result<Decompressed<'a>, Malformed> {
        let Some(compression) = named(compression) else { return Ok((Cow::Borrowed(body), None)) };
        let limit = limit.min(self.total);
        let mut need = expected(body, limit);
        loop {
            match self.attempt(self.room.take(need).await, need, (compression, body, limit)) {
                Attempt::Done(body, taken) => return body.map(|body| (Cow::Owned(body), Some(taken))),
                Attempt::Needs(more) => need = more,
            }
        }
    }

    /// The same; `None` when there is no room at this moment.
    #[cfg(any(test, feature = "oslo"))]
    pub(crate) fn try_decompress<'a>(
        &self,
        compression: Option<&str>,
        body: &'a [u8],
        limit: u64,
    ) -> Option<Result<Decompressed<'a>, Malformed>> {
        let Some(compression) = named(compression) else { return Some(Ok((Cow::Borrowed(body), None))) };
        let limit = limit.min(self.total);
        let mut need = expected(body, limit);
        loop {
            match self.attempt(self.room.try_take(need)?, need, (compression, body, limit)) {
                Attempt::Done(body, taken) => {
                    return Some(body.map(|body| (Cow::Owned(body), Some(taken))));
                }
                Attempt::Needs(more) => need = more,
            }
        }
    }

    fn attempt(
        &self,
        mut taken: Taken,
        room: u64,
        (compression, body, limit): (Compression, &[u8], u64),
    ) -> Attempt {
        match compression.decompress(body, room.min(limit)) {
            // Whatever is wrong may be the little room: a dictionary can be larger than the body.
            Err(_) if room < limit => Attempt::Needs(room.saturating_mul(GROWTH).min(limit)),
            Err(reason) => Attempt::Done(Err(reason), taken),
            Ok(body) => match weight(&body).min(self.total) {
                weight if weight > room => Attempt::Needs(weight),
                weight => {
                    taken.shrink_to(weight);
                    Attempt::Done(Ok(body), taken)
                }
            },
        }
    }
}

fn expected(body: &[u8], limit: u64) -> u64 {
    (body.len() as u64).saturating_mul(EXPECTED_RATIO).max(EXPECTED_LEAST).min(limit)
}

/// Of what the body may become when it is read.
fn weight(body: &[u8]) -> u64 {
    let values = memchr::memchr_iter(b',', body).count() as u64;
    (body.len() as u64).saturating_add(values.saturating_mul(VALUE))
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    const ZLIB: Option<&str> = Some("zlib");
    const MIB: u64 = 1024 * 1024;

    fn zeros(length: u64) -> Vec<u8> {
        Compression::Zlib.compress(&vec![0; usize::try_from(length).unwrap()]).unwrap().into()
    }

    #[test]
    fn a_body_waits_for_room_until_others_are_done() {
        let budget = Budget::new(4 * MIB);
        let body = zeros(3 * MIB);
        let (first, room) = budget.decompress(ZLIB, &body, 100 * MIB).now_or_never().unwrap().unwrap();
        assert_eq!(first.len() as u64, 3 * MIB);
        let mut second = Box::pin(budget.decompress(ZLIB, &body, 100 * MIB));
        assert!(second.as_mut().now_or_never().is_none());
        assert!(budget.try_decompress(ZLIB, &body, 100 * MIB).is_none());
        drop(room);
        assert_eq!(second.now_or_never().unwrap().unwrap().0.len() as u64, 3 * MIB);
        assert!(budget.try_decompress(ZLIB, &body, 100 * MIB).unwrap().is_ok());
    }

    #[test]
    fn what_is_larger_than_the_limit_or_all_of_the_room_is_refused_and_holds_nothing() {
        let budget = Budget::new(4 * MIB);
        for (length, limit, told) in [(5 * MIB, 100 * MIB, 4 * MIB), (3 * MIB, 2 * MIB, 2 * MIB)] {
            let body = zeros(length);
            let refused = budget.decompress(ZLIB, &body, limit).now_or_never().unwrap();
            assert!(matches!(refused, Err(Malformed::TooLarge { limit }) if limit == told), "{refused:?}");
        }
        let body = zeros(4 * MIB);
        let (_, room) = budget.try_decompress(ZLIB, &body, 100 * MIB).unwrap().unwrap();
        assert!(room.is_some());
    }

    #[test]
    fn what_is_not_compressed_needs_no_room() {
        let budget = Budget::new(1);
        for name in [None, Some("unknown")] {
            let (body, room) = budget.decompress(name, b"body", 0).now_or_never().unwrap().unwrap();
            assert!(matches!(body, Cow::Borrowed(b"body")) && room.is_none());
        }
    }

    #[test]
    fn many_small_values_have_the_weight_of_what_they_become() {
        let budget = Budget::new(64 * MIB);
        let list = Compression::Zlib.compress(&b"0,".repeat(MIB as usize)).unwrap();
        let held: Vec<_> = std::iter::from_fn(|| budget.try_decompress(ZLIB, &list, 64 * MIB)).collect();
        // 2 MiB of text each, and 34 as values.
        assert_eq!(held.len(), 1);
        assert!(held.into_iter().all(|body| body.is_ok()));
    }
}
