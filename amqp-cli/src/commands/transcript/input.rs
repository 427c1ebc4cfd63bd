//! A file, or standard input, which is named `-`.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use crate::error::Error;

/// Opens a file to read.
///
/// # Errors
/// [`Error::File`].
pub(super) fn open(path: &Path) -> Result<Box<dyn Read + Send>, Error> {
    if path == Path::new("-") {
        return Ok(Box::new(io::stdin()));
    }
    let file = File::open(path).map_err(Error::file("open", path))?;
    Ok(Box::new(file))
}

/// Returns a function for `map_err` that names the file.
pub(super) fn failed(path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |error| match path == Path::new("-") {
        true => Error::Input(error),
        false => Error::file("read", &path)(error),
    }
}
