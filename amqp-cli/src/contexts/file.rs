//! The file of the contexts: `contexts.toml` in the user's configuration folder.

use std::{
    collections::BTreeMap,
    env, fs,
    io::{self, ErrorKind, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{
    contexts::{secret::SecretSource, url::ConnectionUrl},
    error::Error,
};

/// The named URLs, and the name of the one that is used without being asked for.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Contexts {
    /// The name of the context in use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) current: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) contexts: BTreeMap<String, Named>,
}

/// A named URL, and where its password comes from.
#[derive(Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Named {
    pub(crate) url: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) password_file: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) password_variable: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) ask_password: bool,
}

impl std::fmt::Debug for Named {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Named").field(&self.shown()).finish()
    }
}

impl Named {
    /// The URL, as it may be shown.
    pub(crate) fn shown(&self) -> ConnectionUrl {
        ConnectionUrl::new(&self.url)
    }

    /// Where the password comes from, if not from the URL.
    pub(crate) fn secret(&self) -> Option<SecretSource> {
        match (&self.password_file, &self.password_variable) {
            (Some(file), _) => Some(SecretSource::File(file.clone())),
            (None, Some(variable)) => Some(SecretSource::Variable(variable.clone())),
            (None, None) => self.ask_password.then_some(SecretSource::Prompt),
        }
    }
}

impl Contexts {
    /// Where the file is: `$XDG_CONFIG_HOME/amqp/contexts.toml`, or `~/.config/amqp/contexts.toml`
    /// (<https://specifications.freedesktop.org/basedir-spec/latest/>). A relative
    /// `XDG_CONFIG_HOME` counts as unset, as the specification demands.
    ///
    /// # Errors
    /// [`Error::Usage`] when neither variable says where.
    pub(crate) fn path() -> Result<PathBuf, Error> {
        let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let folder =
            absolute("XDG_CONFIG_HOME").or_else(|| Some(absolute("HOME")?.join(".config"))).ok_or_else(
                || Error::Usage("neither XDG_CONFIG_HOME nor HOME says where the contexts are".to_owned()),
            )?;
        Ok(folder.join("amqp").join("contexts.toml"))
    }

    /// Reads the file; without one there are no contexts.
    ///
    /// # Errors
    /// [`Error::File`], and [`Error::Content`], which repeats nothing of the file.
    pub(crate) fn read(path: &Path) -> Result<Self, Error> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Contexts::default()),
            Err(error) => return Err(Error::file("read", path)(error)),
        };
        toml::from_str(&text).map_err(|error| {
            // The message of an error shows the line, in which a password may be.
            let line = error.span().map(|span| 1 + text[..span.start.min(text.len())].matches('\n').count());
            let why = format!("line {}: {}", line.unwrap_or(1), error.message());
            Error::Content { path: path.to_owned(), why }
        })
    }

    /// Writes the file for this user alone, whole or not at all.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::DiskFull`].
    pub(crate) fn write(&self, path: &Path) -> Result<(), Error> {
        let text = toml::to_string(self)
            .map_err(|error| Error::Content { path: path.to_owned(), why: error.to_string() })?;
        let replaced = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| replace(path, &text));
        replaced.map_err(Error::file("write", path))
    }
}

/// Replaces a file by way of another beside it, so that no reader sees half of it.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let beside = path.with_extension(format!("toml.{}", std::process::id()));
    let written = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&beside)
        .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        // What is left of it is of no use, and the first error is the one to tell.
        let _ = fs::remove_file(&beside);
    }
    written
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn named(url: &str) -> Named {
        Named { url: url.to_owned(), password_file: None, password_variable: None, ask_password: false }
    }

    #[test]
    fn what_is_written_is_read_and_is_for_its_user_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("amqp/contexts.toml");
        let mut contexts = Contexts::read(&path).unwrap();
        contexts.contexts.insert("a".to_owned(), Named { ask_password: true, ..named("amqp://a") });
        contexts.current = Some("a".to_owned());
        contexts.write(&path).unwrap();
        let read = Contexts::read(&path).unwrap();
        assert_eq!(read.current.as_deref(), Some("a"));
        assert_eq!(read.contexts["a"].secret(), Some(SecretSource::Prompt));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn an_error_repeats_nothing_of_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("contexts.toml");
        fs::write(&path, "[contexts.a]\nurl = \"amqp://u:secret@h\n").unwrap();
        let error = Contexts::read(&path).unwrap_err().to_string();
        assert!(error.contains("line 2") && !error.contains("secret"), "{error}");
    }
}
