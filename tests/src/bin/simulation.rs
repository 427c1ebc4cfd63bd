//! Runs scenarios of the simulation; see `tests/README.md`.

use std::{env, process::ExitCode};

fn main() -> ExitCode {
    tests::simulation::main(env::args().skip(1))
}
