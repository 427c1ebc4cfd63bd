//! The exit codes of the program.

use std::process::ExitCode;

/// How the program ended. The list in `--help` and the man page is [`EXIT_CODES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// All was done; or the reader of the output has gone, and nothing is left to do.
    Done,
    /// The broker refused an operation, the connection was lost, or a command failed.
    Failed,
    /// The arguments are wrong. clap uses the same code.
    Usage,
    /// There was no message, or no reply in time.
    Nothing,
    /// No connection could be opened.
    Unreachable,
    /// The broker did not take a message: it was returned or nacked.
    NotTaken,
    /// A local file cannot be read or written, or is damaged.
    File,
    /// SIGINT or SIGTERM ended the program.
    Interrupted,
    /// A code that a command documents itself, such as that of a child or of a probe.
    Other(u8),
}

/// The list of the exit codes, for `--help`.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0    all is done, or the reader of the output has gone
  1    the broker refused an operation, the connection was lost, or a command failed
  2    the arguments are wrong
  3    there is nothing: an empty queue, no message or no reply in time
  4    no connection can be opened
  5    the broker did not take a message: it was returned or nacked
  6    a local file cannot be read or written, or is damaged
  130  SIGINT or SIGTERM ended the program
";

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit.code())
    }
}

impl Exit {
    /// The number of the code.
    pub(crate) fn code(self) -> u8 {
        match self {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::Nothing => 3,
            Exit::Unreachable => 4,
            Exit::NotTaken => 5,
            Exit::File => 6,
            Exit::Interrupted => 130,
            Exit::Other(code) => code,
        }
    }
}
