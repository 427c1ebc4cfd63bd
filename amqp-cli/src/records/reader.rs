//! Reading records.

use std::{
    fs::File,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    vec,
};

use crate::{
    error::Error,
    records::{
        file_of,
        line::{Record, check_heading},
        numbers_of,
    },
};

/// Reads the records of a folder in their order.
#[derive(Debug)]
pub(crate) struct RecordReader {
    paths: vec::IntoIter<PathBuf>,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    path: PathBuf,
    file: BufReader<File>,
    line: u64,
}

impl RecordReader {
    /// Opens a folder.
    ///
    /// # Errors
    /// [`Error::File`]; [`Error::Content`] when there are no records in it, or a file is missing
    /// between others.
    pub(crate) fn open(folder: &Path) -> Result<Self, Error> {
        let content = |why| Error::Content { path: folder.to_owned(), why };
        let numbers = numbers_of(folder)?;
        let first = *numbers.first().ok_or_else(|| content("there are no records".to_owned()))?;
        if let Some((missing, _)) = (first..).zip(&numbers).find(|(wanted, number)| wanted != *number) {
            let name = file_of(Path::new(""), missing);
            return Err(content(format!("the records are damaged: {} is missing", name.display())));
        }
        let paths: Vec<_> = numbers.iter().map(|number| file_of(folder, *number)).collect();
        Ok(RecordReader { paths: paths.into_iter(), open: None })
    }

    /// Reads all records of a folder without keeping them, and returns how many there are.
    ///
    /// # Errors
    /// As [`open`](Self::open) and [`next`](Self::next).
    pub(crate) fn count(folder: &Path) -> Result<u64, Error> {
        let mut records = Self::open(folder)?;
        let mut count = 0;
        while records.next()?.is_some() {
            count += 1;
        }
        Ok(count)
    }

    /// Returns the next record, or `None` after the last one.
    ///
    /// # Errors
    /// [`Error::File`]; [`Error::Content`] with the line for a damaged record or another format.
    pub(crate) fn next(&mut self) -> Result<Option<Record>, Error> {
        loop {
            let Some(open) = &mut self.open else {
                let Some(path) = self.paths.next() else { return Ok(None) };
                self.open = Some(Open::new(path)?);
                continue;
            };
            if let Some(line) = open.next_line()? {
                let record = Record::from_line(&line);
                return record.map(Some).map_err(|why| open.damaged(&why));
            }
            self.open = None;
        }
    }
}

impl Open {
    fn new(path: PathBuf) -> Result<Self, Error> {
        let file = File::open(&path).map_err(Error::file("read", &path))?;
        let mut open = Open { path, file: BufReader::new(file), line: 0 };
        let heading = open.next_line()?.unwrap_or_default();
        check_heading(&heading).map_err(|why| Error::Content { path: open.path.clone(), why })?;
        Ok(open)
    }

    /// Returns the next line without its end. The last line has one too, or it is cut off.
    fn next_line(&mut self) -> Result<Option<String>, Error> {
        let mut line = Vec::new();
        self.file.read_until(b'\n', &mut line).map_err(Error::file("read", &self.path))?;
        self.line += 1;
        match line.pop() {
            None => Ok(None),
            Some(b'\n') => {
                let line = String::from_utf8(line);
                line.map(Some).map_err(|_| self.damaged("damaged record: it is not UTF-8"))
            }
            Some(_) => Err(self.damaged("damaged record: it is cut off")),
        }
    }

    fn damaged(&self, why: &str) -> Error {
        Error::Content { path: self.path.clone(), why: format!("line {}: {why}", self.line) }
    }
}
