//! The one error of the program.

use std::{
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

use crate::{api_error::ApiError, exit::Exit};

/// Why a command did not do all that it was asked to. Its text repeats neither its source nor any
/// password; it may hold a peer's words, which are escaped where it is printed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Arguments that contradict each other, or that cannot be read.
    #[error("{0}")]
    Usage(String),
    /// There was no message, or no reply in time.
    #[error("{0}")]
    Nothing(String),
    /// The broker could not be connected to.
    #[error("cannot connect")]
    Connect(#[source] Box<messaging::Error>),
    /// The broker or the connection failed an operation.
    #[error("cannot {operation}")]
    Broker { operation: String, source: Box<amqp_client::Error> },
    /// An operation of the transport failed.
    #[error("cannot {operation}")]
    Messaging { operation: String, source: Box<messaging::Error> },
    /// A management API did not tell what it was asked.
    #[error("the management API at {address} does not tell{}", source.advice())]
    Management { address: String, source: ApiError },
    /// The broker returned or nacked a message.
    #[error("the broker did not take message {number}: {why}")]
    NotTaken { number: u64, why: String },
    /// A file could not be read or written.
    #[error("cannot {operation} {}", path.display())]
    File { operation: &'static str, path: PathBuf, source: io::Error },
    /// A disk has no room for a file.
    #[error("the disk is full: cannot {operation} {}", path.display())]
    DiskFull { operation: &'static str, path: PathBuf },
    /// A file's content is not what it should be.
    #[error("{}: {why}", path.display())]
    Content { path: PathBuf, why: String },
    /// Standard input could not be read.
    #[error("cannot read standard input")]
    Input(#[source] io::Error),
    /// Standard output could not be written.
    #[error("cannot write to standard output")]
    Output(#[source] io::Error),
    /// The reader of standard output has gone. That is no failure: `amqp sub | head` ends so.
    #[error("the reader of standard output has gone")]
    ReaderGone,
    /// A program could not be started.
    #[error("cannot start {program}")]
    Start { program: String, source: io::Error },
    /// The system refused something that the program needs.
    #[error("cannot {operation}")]
    System { operation: &'static str, source: io::Error },
    /// SIGINT or SIGTERM arrived.
    #[error("interrupted")]
    Interrupted,
}

impl Error {
    /// Returns a function for `map_err` that adds the operation to an error of the client.
    pub(crate) fn broker(operation: impl Into<String>) -> impl FnOnce(amqp_client::Error) -> Self {
        let operation = operation.into();
        move |source| Error::Broker { operation, source: Box::new(source) }
    }

    /// As [`broker`](Self::broker), for an error of the transport.
    pub(crate) fn messaging(operation: impl Into<String>) -> impl FnOnce(messaging::Error) -> Self {
        let operation = operation.into();
        move |source| match source {
            messaging::Error::Connect { .. } | messaging::Error::Url(_) => Error::Connect(Box::new(source)),
            source => Error::Messaging { operation, source: Box::new(source) },
        }
    }

    /// Returns a function for `map_err` that names the file. A full disk is an error of its own.
    pub(crate) fn file(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| match source.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Error::DiskFull { operation, path },
            _ => Error::File { operation, path, source },
        }
    }

    /// The error of a write to standard output.
    pub(crate) fn output(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::BrokenPipe => Error::ReaderGone,
            _ => Error::Output(error),
        }
    }

    /// Returns the program's end with this error.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Error::Usage(_) => Exit::Usage,
            Error::Nothing(_) => Exit::Nothing,
            Error::Connect(source) if matches!(**source, messaging::Error::Url(_)) => Exit::Usage,
            Error::Connect(_) => Exit::Unreachable,
            Error::Management { source, .. } if source.is_absence() => Exit::Unreachable,
            Error::Broker { .. }
            | Error::Messaging { .. }
            | Error::Management { .. }
            | Error::Start { .. }
            | Error::System { .. }
            | Error::Output(_) => Exit::Failed,
            Error::NotTaken { .. } => Exit::NotTaken,
            Error::File { .. } | Error::DiskFull { .. } | Error::Content { .. } | Error::Input(_) => {
                Exit::File
            }
            Error::ReaderGone => Exit::Done,
            Error::Interrupted => Exit::Interrupted,
        }
    }

    /// Tells whether there is nothing to say about it: the user caused it and knows.
    pub(crate) fn is_silent(&self) -> bool {
        matches!(self, Error::ReaderGone | Error::Interrupted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_an_error_of_its_own() {
        let error = |kind: ErrorKind| Error::file("write", Path::new("/x"))(kind.into());
        for kind in [ErrorKind::StorageFull, ErrorKind::QuotaExceeded] {
            assert!(matches!(error(kind), Error::DiskFull { .. }));
            assert_eq!(error(kind).to_string(), "the disk is full: cannot write /x");
        }
        assert!(matches!(error(ErrorKind::PermissionDenied), Error::File { .. }));
    }
}
