//! What the program says beside its output, on standard error.

use std::io::{self, Write as _};

use crate::output::escape::escaped_line;

/// Says something on standard error, in one line. A peer's words in it are escaped.
pub(crate) fn note(text: &str) {
    // If standard error is closed, nobody can be told.
    let _ = writeln!(io::stderr(), "amqp: {}", escaped_line(text));
}
