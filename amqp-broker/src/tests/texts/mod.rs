//! The texts of errors and logs.

mod errors_in_words;
mod log_lines;
