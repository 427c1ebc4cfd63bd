//! Measures how much memory reading allocates.

use std::alloc::System;

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// The allowance for each byte of input. The worst case is a body part in a frame of its own: it
/// takes 32 bytes of a list that may just have doubled, and the smallest such frame has 9 bytes.
const PER_BYTE: usize = 16;
/// The allowance that does not depend on the input: reference counts and an error.
const ONCE: usize = 512;

/// Runs `read` over `length` bytes that a peer sent.
///
/// # Panics
/// When it allocates more than a small constant times `length`.
pub(crate) fn bounded<T>(length: usize, read: impl FnOnce() -> T) -> T {
    let region = Region::new(ALLOCATOR);
    let result = read();
    let allocated = region.change().bytes_allocated;
    let limit = PER_BYTE * length + ONCE;
    assert!(allocated <= limit, "{allocated} bytes allocated for {length} read");
    result
}
