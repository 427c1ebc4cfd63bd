//! An AMQP 0-9-1 broker as a program.

use std::process::ExitCode;

use mimalloc::MiMalloc;

// Unlike glibc's allocator it returns the memory that a draining queue frees to the system.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    amqp_broker::program::main()
}
