//! A program that answers a request.

use std::{
    ffi::OsString,
    io::ErrorKind,
    process::{ExitStatus, Stdio},
};

use tokio::{io::AsyncWriteExt as _, process::Command};

use crate::error::Error;

/// Runs a program with this on its standard input, and returns how it ended and what it printed.
///
/// # Errors
/// [`Error::Start`] when there is no such program.
///
/// # Cancel safety
/// The program is killed when the future is dropped.
pub(crate) async fn answer(
    command: &[OsString],
    variables: &[(&str, &str)],
    input: &[u8],
) -> Result<(ExitStatus, Vec<u8>), Error> {
    let (program, arguments) = command.split_first().ok_or_else(|| Error::Usage("no command".to_owned()))?;
    let failed = |source| Error::Start { program: program.to_string_lossy().into_owned(), source };
    let mut child = Command::new(program);
    child.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    // The environment cannot hold a NUL, which a peer may write into a name.
    child.envs(variables.iter().filter(|(_, value)| !value.contains('\0')).copied());
    let mut child = child.spawn().map_err(failed)?;
    let stdin = child.stdin.take();
    let write = async {
        let Some(mut stdin) = stdin else { return Ok(()) };
        stdin.write_all(input).await
    };
    // A program need not read what it gets.
    let (written, output) = tokio::join!(write, child.wait_with_output());
    match written {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(failed(error)),
        _ => output.map(|output| (output.status, output.stdout)).map_err(failed),
    }
}
