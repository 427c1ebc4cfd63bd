//! Removes steps from a scenario that fails, as long as it still fails.

use std::collections::BTreeSet;

/// The smallest set of steps found for which `fails` holds, which holds for all of them: from
/// halves down to single steps, parts are left out one after the other.
pub(super) fn shrink(
    all: BTreeSet<usize>,
    mut fails: impl FnMut(&BTreeSet<usize>) -> bool,
) -> BTreeSet<usize> {
    let mut kept = all;
    let mut size = kept.len().div_ceil(2);
    while size > 0 {
        let mut has_shrunk = false;
        let numbers: Vec<_> = kept.iter().copied().collect();
        for part in numbers.chunks(size) {
            let less: BTreeSet<_> = kept.iter().copied().filter(|number| !part.contains(number)).collect();
            if less.len() < kept.len() && fails(&less) {
                (kept, has_shrunk) = (less, true);
            }
        }
        // Single steps are tried again until none can be left out.
        size = if size == 1 && has_shrunk { 1 } else { size / 2 };
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_failure_needs_is_kept_and_nothing_else() {
        for needed in [vec![], vec![0], vec![3, 4, 17], (5..25).collect()] {
            let needed: BTreeSet<usize> = needed.into_iter().collect();
            let shrunk = shrink((0..40).collect(), |kept| needed.is_subset(kept));
            assert_eq!(shrunk, needed);
        }
    }
}
