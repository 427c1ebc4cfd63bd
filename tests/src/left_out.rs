//! Reports of tests that could not run.

use std::io::{self, Write as _};

/// Reports that `test` did not run, and why, as one line `left out: TEST: WHY` on the process's
/// standard error.
///
/// The line bypasses the output capture of the test harness, which counts such a test as passed.
/// `tests/run` collects these lines in its summary.
pub fn leave_out(test: &str, why: &str) {
    // A single write keeps the lines of concurrent tests apart. If standard error is closed, nobody
    // can be told.
    let _ = io::stderr().write_all(format!("left out: {test}: {why}\n").as_bytes());
}
