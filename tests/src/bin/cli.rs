//! The program `amqp`, built with the suite that runs it.

use std::process::ExitCode;

fn main() -> ExitCode {
    amqp_cli::main()
}
