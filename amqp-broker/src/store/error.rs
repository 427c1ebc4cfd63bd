//! The errors of a folder.

use std::{
    error::Error,
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

/// Why a broker with persistent state cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// Another broker uses the folder.
    #[error("{} is in use by another broker", .path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// The folder's contents cannot be read, or nothing can be written to it.
    #[error("cannot use {}", .path.display())]
    Unusable {
        /// The folder.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The folder was written by a newer version.
    #[error("{} is of a newer version: {format}", .path.display())]
    Newer {
        /// The folder.
        path: PathBuf,
        /// The part that is newer than this version supports.
        format: String,
    },
    /// The folder is damaged: something that was confirmed cannot be read. Nothing was changed. A
    /// [repair](crate::DurableBrokerBuilder::repair) recovers what can still be read.
    #[error("{} is damaged: {damage}. A repair (--repair) sets the damaged parts aside and starts with the rest", .path.display())]
    Damaged {
        /// The folder.
        path: PathBuf,
        /// A description of the damage.
        damage: String,
    },
}

impl DataError {
    /// Converts the store's error about a folder.
    pub(super) fn of(path: &Path, error: fjall::Error) -> Self {
        let path = path.to_owned();
        match error {
            fjall::Error::Locked => DataError::InUse { path },
            other => DataError::Unusable { source: cause(&path, other), path },
        }
    }

    /// Converts the store's error about a folder that was opened before: here unreadable means
    /// damaged.
    pub(super) fn of_reading(path: &Path, error: fjall::Error) -> Self {
        let from_system = system_error(&error);
        let why = from_system.as_ref().map_or_else(|| words(&error).to_owned(), io::Error::to_string);
        tracing::debug!(path = %path.display(), why, "the store cannot be read");
        let is_damage = match from_system {
            Some(error) => matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof),
            None => !matches!(error, fjall::Error::Locked | fjall::Error::Poisoned),
        };
        match is_damage {
            true => DataError::damaged(path, &[cause(path, error).to_string()]),
            false => DataError::of(path, error),
        }
    }

    pub(super) fn damaged(path: &Path, damage: &[String]) -> Self {
        DataError::Damaged { path: path.to_owned(), damage: damage.join("; ") }
    }

    pub(super) fn newer(path: &Path, format: String) -> Self {
        DataError::Newer { path: path.to_owned(), format }
    }

    pub(super) fn unusable(path: &Path) -> impl Fn(io::Error) -> Self {
        |source| DataError::Unusable { path: path.to_owned(), source }
    }
}

/// The cause of the store's error: the system's error if there is one, a description otherwise.
pub(super) fn cause(folder: &Path, error: fjall::Error) -> io::Error {
    match error {
        fjall::Error::Io(error) => error,
        // A background task of the store failed, and the store reports only that it did. The cause
        // persists, so writing a file shows it.
        fjall::Error::Poisoned => match try_to_write(folder) {
            Err(error) => error,
            Ok(()) => io::Error::other("an earlier write failed"),
        },
        other => system_error(&other).unwrap_or_else(|| io::Error::other(words(&other))),
    }
}

/// The system's error among the causes of an error.
fn system_error(error: &(dyn Error + 'static)) -> Option<io::Error> {
    let from_system = |found: &io::Error| match found.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => io::Error::new(found.kind(), found.to_string()),
    };
    let mut errors = std::iter::successors(Some(error), |error: &&(dyn Error + 'static)| (*error).source());
    errors.find_map(|error| error.downcast_ref::<io::Error>()).map(from_system)
}

fn words(error: &fjall::Error) -> &'static str {
    match error {
        fjall::Error::JournalRecovery(_) | fjall::Error::InvalidTag(_) | fjall::Error::InvalidTrailer => {
            "the journal cannot be read"
        }
        fjall::Error::InvalidVersion(_) => "it is of a version that is not known",
        fjall::Error::Decompress(_) => "what is compressed there cannot be read",
        fjall::Error::KeyspaceDeleted => "a part of it was deleted",
        _ => "what is stored there cannot be read",
    }
}

/// Writes a small file, and removes it.
fn try_to_write(folder: &Path) -> io::Result<()> {
    let path = folder.join("probe");
    let written = fs::File::create(&path).and_then(|mut file| {
        file.write_all(&[1; 1 << 16])?;
        file.sync_all()
    });
    let removed = fs::remove_file(&path);
    written.and(removed)
}

#[cfg(test)]
mod tests {
    use amqp_codec::Report;

    use super::*;

    #[test]
    fn an_error_is_said_in_words() {
        let folder = tempfile::tempdir().unwrap();
        let full = || io::Error::from_raw_os_error(28);
        let errors = [
            (fjall::Error::Io(full()), "No space left on device (os error 28)"),
            (fjall::Error::InvalidTrailer, "the journal cannot be read"),
            (fjall::Error::Unrecoverable, "what is stored there cannot be read"),
            (fjall::Error::Poisoned, "an earlier write failed"),
        ];
        for (error, expected) in errors {
            assert_eq!(cause(folder.path(), error).to_string(), expected);
        }
        let gone = folder.path().join("gone");
        let error = cause(&gone, fjall::Error::Poisoned);
        assert_eq!(error.kind(), io::ErrorKind::NotFound, "the cause that is still there");
        let error = Report(&DataError::of(folder.path(), fjall::Error::Io(full()))).to_string();
        assert!(error.ends_with(": No space left on device (os error 28)") && !error.contains("Fjall"));
    }
}
