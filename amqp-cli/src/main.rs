//! The program `amqp`.

use std::process::ExitCode;

use mimalloc::MiMalloc;

// `amqp serve` is the broker: unlike glibc's allocator it returns the memory that a draining queue
// frees to the system.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    amqp_cli::main()
}
