//! Where the folders are.

use std::path::PathBuf;

use percent_encoding::percent_decode_str;

/// The folders of a [`Filesystem`](super::Filesystem), with kombu's names and defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct FilesystemOptions {
    pub(super) data_in: PathBuf,
    pub(super) data_out: PathBuf,
    pub(super) control: PathBuf,
    pub(super) processed: Option<PathBuf>,
}

/// Why a `filesystem://` URL was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FilesystemUrlError {
    /// It does not begin with `filesystem://`.
    #[error("it does not begin with filesystem://")]
    Scheme,
    /// It names a host or a path, but the folders are options.
    #[error("filesystem:// has no host and no path: the folders are options, such as ?data_folder_in=DIR")]
    Path,
    /// The option is unknown.
    #[error("option {0:?} is not supported")]
    UnknownOption(String),
    /// The option's value is not what it has to be.
    #[error("option {0:?} has a value that is not UTF-8, or not true or false")]
    BadOption(String),
}

impl Default for FilesystemOptions {
    /// kombu's folders: `data_in`, `data_out` and `control`, in the current folder.
    fn default() -> Self {
        let [data_in, data_out, control] = ["data_in", "data_out", "control"].map(PathBuf::from);
        FilesystemOptions { data_in, data_out, control, processed: None }
    }
}

impl FilesystemOptions {
    /// kombu's defaults: `data_in`, `data_out` and `control`, in the current folder.
    pub fn new() -> Self {
        FilesystemOptions::default()
    }

    /// Sets the folder from which messages are read. Default `data_in`.
    pub fn data_folder_in(mut self, folder: impl Into<PathBuf>) -> Self {
        self.data_in = folder.into();
        self
    }

    /// Sets the folder into which messages are written; to read what is published, it is the same
    /// as [`data_folder_in`](Self::data_folder_in). Default `data_out`.
    pub fn data_folder_out(mut self, folder: impl Into<PathBuf>) -> Self {
        self.data_out = folder.into();
        self
    }

    /// Sets the folder of the exchanges' bindings. Default `control`.
    pub fn control_folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.control = folder.into();
        self
    }

    /// Keeps acknowledged messages in this folder (kombu's `store_processed` and
    /// `processed_folder`). Default: they are deleted.
    pub fn processed_folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.processed = Some(folder.into());
        self
    }

    /// Reads `filesystem://?data_folder_in=DIR&…`, with kombu's transport options as the options of
    /// the URL: `data_folder_in`, `data_folder_out`, `control_folder`, `processed_folder` and
    /// `store_processed`.
    ///
    /// # Errors
    /// When the URL has anything else.
    pub fn from_url(url: &str) -> Result<Self, FilesystemUrlError> {
        let rest = url.strip_prefix("filesystem://").ok_or(FilesystemUrlError::Scheme)?;
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        if !matches!(path, "" | "/" | "localhost" | "localhost/") {
            return Err(FilesystemUrlError::Path);
        }
        let (mut options, mut processed, mut stores) = (Self::new(), PathBuf::from("processed"), false);
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (option, value) = pair.split_once('=').unwrap_or((pair, ""));
            let bad = || FilesystemUrlError::BadOption(option.to_owned());
            let value = percent_decode_str(value).decode_utf8().map_err(|_| bad())?;
            let folder = PathBuf::from(&*value);
            match option {
                "data_folder_in" => options.data_in = folder,
                "data_folder_out" => options.data_out = folder,
                "control_folder" => options.control = folder,
                "processed_folder" => processed = folder,
                "store_processed" => {
                    stores = match &*value.to_ascii_lowercase() {
                        "true" | "1" | "yes" | "on" => true,
                        "false" | "0" | "no" | "off" | "" => false,
                        _ => return Err(bad()),
                    };
                }
                _ => return Err(FilesystemUrlError::UnknownOption(option.to_owned())),
            }
        }
        options.processed = stores.then_some(processed);
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_the_folders() {
        let url =
            "filesystem://?data_folder_in=/a%20b&data_folder_out=/c&control_folder=/d&store_processed=true";
        let expected = FilesystemOptions::new()
            .data_folder_in("/a b")
            .data_folder_out("/c")
            .control_folder("/d")
            .processed_folder("processed");
        assert_eq!(FilesystemOptions::from_url(url), Ok(expected));
        assert_eq!(FilesystemOptions::from_url("filesystem://"), Ok(FilesystemOptions::new()));
    }

    #[test]
    fn anything_else_is_refused_by_its_name() {
        for (url, error) in [
            ("file://", FilesystemUrlError::Scheme),
            ("filesystem:///tmp/x", FilesystemUrlError::Path),
            ("filesystem://?folder=x", FilesystemUrlError::UnknownOption("folder".to_owned())),
            (
                "filesystem://?store_processed=maybe",
                FilesystemUrlError::BadOption("store_processed".to_owned()),
            ),
        ] {
            assert_eq!(FilesystemOptions::from_url(url), Err(error), "{url}");
        }
    }
}
