//! A limit on memory that is shared, measured in bytes.

use std::sync::Arc;

use crate::sync::{OwnedSemaphorePermit, Semaphore};

/// The unit of counting in bytes, because a semaphore takes at most `u32` permits at once.
const UNIT: u64 = 1024;

/// A number of bytes that many callers share. A request for more than all of it gets all of it.
#[derive(Clone, Debug)]
pub(crate) struct Room {
    free: Arc<Semaphore>,
    units: u32,
}

/// A part of the room.
///
/// # On drop
/// The part becomes free for others.
#[derive(Debug)]
pub(crate) struct Taken(Option<OwnedSemaphorePermit>);

impl Room {
    pub(crate) fn new(bytes: u64) -> Self {
        let units = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX).max(1);
        let units = units.min(u32::try_from(Semaphore::MAX_PERMITS).unwrap_or(u32::MAX));
        Room { free: Arc::new(Semaphore::new(units as usize)), units }
    }

    /// Waits until this much is free, first come, first served. A waiting caller holds nothing, so
    /// two cannot wait for each other.
    pub(crate) async fn take(&self, bytes: u64) -> Taken {
        // The semaphore is never closed, so this cannot fail.
        Taken(self.free.clone().acquire_many_owned(self.units_of(bytes)).await.ok())
    }

    /// Takes this much if it is free at the moment.
    #[cfg(any(test, feature = "oslo"))]
    pub(crate) fn try_take(&self, bytes: u64) -> Option<Taken> {
        let taken = self.free.clone().try_acquire_many_owned(self.units_of(bytes));
        taken.ok().map(|permit| Taken(Some(permit)))
    }

    fn units_of(&self, bytes: u64) -> u32 {
        u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX).clamp(1, self.units)
    }
}

impl Taken {
    /// Frees everything beyond this many bytes.
    pub(crate) fn shrink_to(&mut self, bytes: u64) {
        let Some(permit) = &mut self.0 else { return };
        let needed = usize::try_from(bytes.div_ceil(UNIT)).unwrap_or(usize::MAX).max(1);
        drop(permit.split(permit.num_permits().saturating_sub(needed)));
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn the_next_waits_until_there_is_room_for_it_and_nobody_overtakes_it() {
        let room = Room::new(10 * UNIT);
        let mut first = room.take(7 * UNIT).now_or_never().unwrap();
        let mut second = Box::pin(room.take(5 * UNIT));
        assert!(second.as_mut().now_or_never().is_none());
        assert!(room.take(1).now_or_never().is_none() && room.try_take(1).is_none());
        first.shrink_to(5 * UNIT);
        let second = second.now_or_never().unwrap();
        assert!(room.try_take(1).is_none());
        drop(second);
        assert!(room.try_take(5 * UNIT).is_some());
    }

    #[test]
    fn what_is_heavier_than_all_of_it_takes_all_of_it() {
        let room = Room::new(10 * UNIT);
        for bytes in [10 * UNIT + 1, u64::MAX] {
            let all = room.try_take(bytes).unwrap();
            assert!(room.try_take(0).is_none());
            drop(all);
        }
        let small = Room::new(0);
        assert!(small.try_take(u64::MAX).is_some());
        let mut kept = Room::new(u64::MAX).try_take(u64::MAX).unwrap();
        kept.shrink_to(u64::MAX);
    }
}
