//! Writing records.

use std::{
    fs::{File, OpenOptions, create_dir_all},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use crate::{
    error::Error,
    message::{sink::MessageSink, view::MessageView},
    records::{
        file_of,
        line::{Record, heading},
        numbers_of,
    },
};

/// The size from which the next file begins, in bytes.
const FULL: u64 = 64 * 1024 * 1024;

/// Writes records into a folder. What has been flushed is on the disk.
#[derive(Debug)]
pub(crate) struct RecordWriter {
    folder: PathBuf,
    number: u64,
    path: PathBuf,
    file: File,
    /// The length of the file that is written and whole.
    size: u64,
    gathered: Vec<u8>,
}

impl RecordWriter {
    /// Makes the folder, if there is none, and begins a file in it.
    ///
    /// # Errors
    /// [`Error::Usage`] when there are records in it, unless they are to be continued;
    /// [`Error::File`], [`Error::DiskFull`].
    pub(crate) fn begin(folder: &Path, appends: bool) -> Result<Self, Error> {
        create_dir_all(folder).map_err(Error::file("make the folder", folder))?;
        let last = numbers_of(folder)?.last().copied();
        if last.is_some() && !appends {
            let text = format!("there are records in {}; --append adds to them", folder.display());
            return Err(Error::Usage(text));
        }
        let number = last.unwrap_or_default() + 1;
        let (path, file, size) = begin_file(folder, number)?;
        Ok(RecordWriter { folder: folder.to_owned(), number, path, file, size, gathered: Vec::new() })
    }

    fn write_gathered(&mut self) -> io::Result<()> {
        let written = self.file.write_all(&self.gathered).and_then(|()| self.file.sync_data());
        match written {
            Ok(()) => self.size += self.gathered.len() as u64,
            // No half of a record stays; if that fails too, the reader finds the damage.
            Err(_) => drop(self.file.set_len(self.size)),
        }
        self.gathered.clear();
        written
    }
}

/// Makes a file. It does not replace another, and does not follow a link.
fn begin_file(folder: &Path, number: u64) -> Result<(PathBuf, File, u64), Error> {
    let (path, heading) = (file_of(folder, number), heading());
    let begun = OpenOptions::new().write(true).create_new(true).open(&path).and_then(|mut file| {
        file.write_all(heading.as_bytes())?;
        Ok(file)
    });
    let file = begun.map_err(Error::file("write", &path))?;
    Ok((path, file, heading.len() as u64))
}

impl MessageSink for RecordWriter {
    fn put(&mut self, message: &MessageView) -> Result<(), Error> {
        let line = Record::now(message).to_line(message.properties_json());
        self.gathered.extend_from_slice(line.as_bytes());
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Error> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        self.write_gathered().map_err(Error::file("write", &self.path))?;
        if self.size >= FULL {
            self.number += 1;
            (self.path, self.file, self.size) = begin_file(&self.folder, self.number)?;
        }
        Ok(())
    }
}
