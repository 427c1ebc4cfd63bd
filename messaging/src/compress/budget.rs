//! The memory for decompressed bodies of messages that are handled concurrently.

use std::borrow::Cow;

use super::compression::Compression;
use crate::{
    compress::room::{Room, Taken},
    error::Malformed,
};

/// The default of how many bytes all decompressed bodies that are being handled may take together:
/// 256 MiB.
pub const DECOMPRESSED_TOTAL: u64 = 256 * 1024 * 1024;

/// The assumed ratio of decompressed to compressed size at first, and the least assumed size.
const EXPECTED_RATIO: u64 = 32;
const EXPECTED_LEAST: u64 = 64 * 1024;
/// The factor by which the room grows when it was too little.
const GROWTH: u64 = 4;
/// The size in bytes of a JSON value of unknown type in memory. All values but one have a comma,
/// which is how they are counted.
const VALUE: u64 = 32;

/// The bytes that decompressed bodies may take together while they are handled.
///
/// A caller that waits for room holds none, and is not overtaken: two bodies never wait for each
/// other. A handler that has room may still wait for another message that waits for room, just as
/// it may for one that waits for its turn.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    room: Room,
    total: u64,
}

/// A decompressed body, with its room if it was compressed.
pub(crate) type Decompressed<'a> = (Cow<'a, [u8]>, Option<Taken>);

/// The result of an attempt with a certain room.
enum Attempt {
    Done(Result<Vec<u8>, Malformed>, Taken),
    /// About this much is needed: no room is kept from the attempt.
    Needs(u64),
}

impl Budget {
    /// Returns a budget of `total` bytes.
    pub(crate) fn new(total: u64) -> Self {
        Budget { room: Room::new(total), total }
    }

    /// Decompresses a body, if it is compressed, when there is room for it. A body that would be
    /// over `limit` bytes, or larger than the whole budget, is refused.
    pub(crate) async fn decompress<'a>(
        &self,
        compression: Option<Compression>,
        body: &'a [u8],
        limit: u64,
    ) -> Result<Decompressed<'a>, Malformed> {
        let Some(compression) = compression else { return Ok((Cow::Borrowed(body), None)) };
        let limit = limit.min(self.total);
        let mut need = expected(body, limit);
        loop {
            match self.attempt(self.room.take(need).await, need, (compression, body, limit)) {
                Attempt::Done(body, taken) => return body.map(|body| (Cow::Owned(body), Some(taken))),
                Attempt::Needs(more) => need = more,
            }
        }
    }

    /// Does the same without waiting; `None` when there is no room at the moment.
    #[cfg(any(test, feature = "oslo"))]
    pub(crate) fn try_decompress<'a>(
        &self,
        compression: Option<Compression>,
        body: &'a [u8],
        limit: u64,
    ) -> Option<Result<Decompressed<'a>, Malformed>> {
        let Some(compression) = compression else { return Some(Ok((Cow::Borrowed(body), None))) };
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
            Err(reason) if room < limit && may_want_room(compression, &reason) => {
                Attempt::Needs(room.saturating_mul(GROWTH).min(limit))
            }
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

/// Tells whether a failure may be due to little room. With xz any may: a dictionary that is larger
/// than the room is an error like any other.
fn may_want_room(compression: Compression, reason: &Malformed) -> bool {
    compression == Compression::Xz || matches!(reason, Malformed::TooLarge { .. })
}

fn expected(body: &[u8], limit: u64) -> u64 {
    (body.len() as u64).saturating_mul(EXPECTED_RATIO).max(EXPECTED_LEAST).min(limit)
}

/// Returns the size that the body may have once it is decoded.
fn weight(body: &[u8]) -> u64 {
    let values = memchr::memchr_iter(b',', body).count() as u64;
    (body.len() as u64).saturating_add(values.saturating_mul(VALUE))
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    const ZLIB: Option<Compression> = Some(Compression::Zlib);
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
    fn a_broken_body_waits_for_no_more_room() {
        let budget = Budget::new(4 * MIB);
        let _room = budget.try_decompress(ZLIB, &zeros(1), 100 * MIB);
        let refused = budget.decompress(ZLIB, b"broken", 100 * MIB).now_or_never().unwrap();
        assert!(matches!(refused, Err(Malformed::Compression(_))), "{refused:?}");
    }

    #[test]
    fn what_is_not_compressed_needs_no_room() {
        let budget = Budget::new(1);
        let (body, room) = budget.decompress(None, b"body", 0).now_or_never().unwrap().unwrap();
        assert!(matches!(body, Cow::Borrowed(b"body")) && room.is_none());
    }

    #[test]
    fn many_small_values_have_the_weight_of_what_they_become() {
        let budget = Budget::new(64 * MIB);
        let list = Compression::Zlib.compress(&b"0,".repeat(MIB as usize)).unwrap();
        let held: Vec<_> = std::iter::from_fn(|| budget.try_decompress(ZLIB, &list, 64 * MIB)).collect();
        // Each has 2 MiB of text, and takes 34 MiB as values.
        assert_eq!(held.len(), 1);
        assert!(held.into_iter().all(|body| body.is_ok()));
    }
}
