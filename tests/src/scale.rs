//! How large the long tests are.

use std::env;

const VARIABLE: &str = "AMQP_TEST_SCALE";

/// What `AMQP_TEST_SCALE` says: by how much tests that can be of any length are longer than in a
/// run of all tests. 1 when it is not set.
///
/// # Panics
/// When the variable is set and holds no number of at least 1.
#[must_use]
#[allow(clippy::panic, reason = "what is set up wrongly must fail, not be small")]
pub fn scale() -> usize {
    match env::var(VARIABLE) {
        Err(_) => 1,
        Ok(text) => match text.parse() {
            Ok(scale) if scale > 0 => scale,
            _ => panic!("{VARIABLE} is {text:?}, and not a number of at least 1"),
        },
    }
}
