//! Checks that the timed code allocates nothing. It is alone in its file, so that no other test
//! allocates at the same time.

use std::alloc::System;

use benches::codec::{ours, sample};
use bytes::BytesMut;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const COUNT: usize = 1000;

/// The test harness may allocate in some round; the timed code would allocate in each.
const ROUNDS: usize = 10;

#[test]
fn deliveries_publishes_and_headers_allocate_nothing() {
    let mut buffer =
        BytesMut::from(&sample::delivery(sample::BODY, sample::FRAME_MAX).repeat(ROUNDS * COUNT + 1)[..]);
    let headers = sample::encoded_headers();
    // The first slice makes a buffer shared, which is its one allocation.
    drop((ours::decode_delivery(&mut buffer), headers.clone()));
    let properties = ours::properties();
    let mut out = BytesMut::with_capacity(4096);
    let mut entries = 0;

    let rounds = (0..ROUNDS).map(|_| {
        let region = Region::new(ALLOCATOR);
        for _ in 0..COUNT {
            drop(ours::decode_delivery(&mut buffer));
            ours::decode_headers(&headers, |_| entries += 1);
            out.clear();
            ours::encode(&properties, &mut out);
        }
        region.change().allocations
    });
    assert_eq!(rounds.min(), Some(0));
    assert_eq!(entries, 20 * COUNT * ROUNDS);
}
