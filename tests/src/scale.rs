//! The size of the long tests.

use std::env;

const VARIABLE: &str = "AMQP_TEST_SCALE";

/// The value of `AMQP_TEST_SCALE`: the factor by which tests of variable length are longer than
/// usual. 1 when it is not set.
///
/// # Panics
/// When the variable is set and is not a number of at least 1.
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
