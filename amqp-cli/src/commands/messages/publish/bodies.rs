//! The bodies to publish: from arguments, standard input, files or a folder.

use std::{
    fs::{self, read_dir},
    path::{Path, PathBuf},
    vec,
};

use bytes::Bytes;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader, Lines, Stdin, stdin};

use crate::error::Error;

/// The bodies, one after the other. Files are read when it is their turn.
#[derive(Debug)]
pub(crate) enum Bodies {
    Given(vec::IntoIter<Bytes>),
    Files(vec::IntoIter<PathBuf>),
    Lines(Lines<BufReader<Stdin>>),
    Input(Option<Stdin>),
}

impl Bodies {
    pub(crate) fn given(bodies: &[String]) -> Self {
        Bodies::Given(bodies.iter().map(|body| Bytes::from(body.clone())).collect::<Vec<_>>().into_iter())
    }

    pub(crate) fn files(files: Vec<PathBuf>) -> Self {
        Bodies::Files(files.into_iter())
    }

    /// Each line of standard input, without its end.
    pub(crate) fn lines() -> Self {
        Bodies::Lines(BufReader::new(stdin()).lines())
    }

    /// All of standard input as one body.
    pub(crate) fn input() -> Self {
        Bodies::Input(Some(stdin()))
    }

    /// Returns the next body, or `None` after the last one.
    ///
    /// # Errors
    /// [`Error::Input`], [`Error::File`].
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        match self {
            Bodies::Given(bodies) => Ok(bodies.next()),
            Bodies::Files(files) => files.next().map(|path| read(&path)).transpose(),
            Bodies::Lines(lines) => {
                let line = lines.next_line().await.map_err(Error::Input)?;
                Ok(line.map(Bytes::from))
            }
            Bodies::Input(input) => {
                let Some(mut input) = input.take() else { return Ok(None) };
                let mut body = Vec::new();
                input.read_to_end(&mut body).await.map_err(Error::Input)?;
                Ok(Some(body.into()))
            }
        }
    }
}

fn read(path: &Path) -> Result<Bytes, Error> {
    fs::read(path).map(Bytes::from).map_err(Error::file("read", path))
}

/// The files of a folder, by name; not those in folders within it, and not those whose name begins
/// with a dot.
///
/// # Errors
/// [`Error::File`].
pub(crate) fn files_of(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let failed = || Error::file("read", folder);
    let mut files = Vec::new();
    for entry in read_dir(folder).map_err(failed())? {
        let path = entry.map_err(failed())?.path();
        let is_hidden = path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
        if !is_hidden && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
