//! Tests that could not run here, said aloud.

use std::io::{self, Write as _};

/// Says that `test` did not run, and why, as one line `left out: TEST: WHY` on the process's
/// standard error.
///
/// The line goes around the capture of the test harness: a test that was left out counts as passed
/// there, and nobody should take it for one that ran. `tests/run` collects these lines in its
/// summary.
pub fn leave_out(test: &str, why: &str) {
    // One write, so that lines of tests running side by side do not mix. There is nobody left to
    // tell when standard error is closed.
    let _ = io::stderr().write_all(format!("left out: {test}: {why}\n").as_bytes());
}
