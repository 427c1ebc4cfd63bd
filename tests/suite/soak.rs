//! A soak of the embedded broker and all clients, as short as it can be: everything arrives, and
//! nothing grows or is left. See `tests/README.md`.

use std::process::Command;

use tests::scale;

/// The number of messages, of all kinds together.
const MESSAGES: usize = 24_000;

#[test]
fn all_messages_arrive_and_nothing_grows_or_is_left() {
    let mut program = Command::new(env!("CARGO_BIN_EXE_soak"));
    let output = program.args(["--messages", &(MESSAGES * scale()).to_string()]).output().unwrap();
    let said = [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
    assert!(output.status.success(), "{}", said.concat());
}
