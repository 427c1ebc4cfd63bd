//! Messages in a folder: written by `amqp record`, read by `amqp replay`.
//!
//! A folder holds files `000001.jsonl`, `000002.jsonl` and so on, whose names never come from a
//! message. The first line of each names the format; every other is one message as a JSON object.

pub(crate) mod line;
pub(crate) mod reader;
pub(crate) mod writer;

use std::{
    fs::read_dir,
    path::{Path, PathBuf},
};

use crate::error::Error;

/// The ending of the files' names.
const ENDING: &str = ".jsonl";

/// The file of this number in a folder.
fn file_of(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:06}{ENDING}"))
}

/// The numbers of the files in a folder, in order.
///
/// # Errors
/// [`Error::File`].
fn numbers_of(folder: &Path) -> Result<Vec<u64>, Error> {
    let failed = || Error::file("read", folder);
    let mut numbers = Vec::new();
    for entry in read_dir(folder).map_err(failed())? {
        let name = entry.map_err(failed())?.file_name();
        let number =
            name.to_str().and_then(|name| name.strip_suffix(ENDING)).and_then(|name| name.parse().ok());
        numbers.extend(number.filter(|number| file_of(folder, *number).file_name() == Some(&name)));
    }
    numbers.sort_unstable();
    Ok(numbers)
}
