//! The exit codes of the programs that search.

use std::{io, process::ExitCode};

/// Returns 0 when all is right, 1 when something is wrong, and 2, with the reason on stderr, when
/// the program could not find out.
pub fn exit_code(program: &str, is_right: io::Result<bool>) -> ExitCode {
    match is_right {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{program}: {error}");
            ExitCode::from(2)
        }
    }
}
