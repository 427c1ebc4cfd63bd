//! The check of a folder before the store opens it, because the store would discard what it cannot
//! read.

mod manifest;

use std::{
    fs::{self, File},
    io::{self, ErrorKind, Read, Seek},
    path::{Path, PathBuf},
};

use self::manifest::Lists;
use super::{
    batches::Journal,
    contents::{Contents, FORMAT, Said},
    error::DataError,
    mark::{Mark, MarkFile},
};

/// The version of the store's format that this broker knows.
const STORE_FORMAT: u8 = 3;

/// The folder of the store's keyspaces.
pub(super) const KEYSPACES: &str = "keyspaces";
pub(super) const VERSION: &str = "version";

/// The contents of the store's version file.
pub(super) const STORE_VERSION: [u8; 4] = [b'F', b'J', b'L', STORE_FORMAT];

/// The result of the check of a folder.
pub(super) struct Found {
    pub(super) contents: Contents,
    pub(super) mark: Option<(MarkFile, Mark)>,
    /// The journals, in the order in which they were written.
    pub(super) journals: Vec<(PathBuf, Journal)>,
    /// The keyspaces that are missing, incomplete, or cannot be opened.
    pub(super) missing: Vec<u64>,
    /// Whether the store's version file is there and known.
    pub(super) has_version: bool,
    /// Whether the store has records outside of its journals.
    has_tables: bool,
    /// Descriptions of the damage.
    pub(super) damage: Vec<String>,
}

impl Found {
    /// Checks a folder, without changing anything.
    ///
    /// # Errors
    /// When it is of a newer version, or cannot be read at all.
    pub(super) fn look(folder: &Path) -> Result<Self, DataError> {
        let unusable = DataError::unusable(folder);
        let mut damage = Vec::new();
        let has_version = look_at_version(folder, &mut damage)?;
        let said = Contents::read(folder).map_err(&unusable)?;
        let mark = match MarkFile::open(folder) {
            Err(error) if error.kind() == ErrorKind::InvalidData => {
                damage
                    .push("the file `synced`, which says how far it was written, cannot be read".to_owned());
                None
            }
            other => other.map_err(&unusable)?,
        };
        let contents = look_at_contents(folder, said, mark.as_ref().map(|(_, mark)| mark), &mut damage)?;
        let said = mark.as_ref().map(|(_, mark)| mark);
        let mut journals = read_journals(folder, said.map(|mark| &mark.secret)).map_err(&unusable)?;
        if let Some(mark) = said.filter(|mark| !mark.is_clean) {
            end_at_unsynced_hole(&mut journals, mark).map_err(&unusable)?;
        }
        let has_tables = has_tables(folder).map_err(&unusable)?;
        let mut found =
            Found { contents, mark, journals, missing: Vec::new(), has_version, has_tables, damage };
        found.look_at_journals();
        if found.is_used() {
            if !has_version && found.damage.is_empty() {
                found.damage.push(format!("the file `{VERSION}` is missing"));
            }
            if found.journals.is_empty() {
                found.damage.push("there is no journal".to_owned());
            }
            found.look_at_keyspaces(folder).map_err(&unusable)?;
        }
        Ok(found)
    }

    /// Tells whether anything was ever written to the folder.
    pub(super) fn is_used(&self) -> bool {
        let is_written = |journal: &Journal| !journal.intact.is_empty() || !journal.tail.is_empty();
        !self.contents.keyspaces.is_empty()
            || self.has_tables
            || self.journals.iter().any(|(_, journal)| is_written(journal))
    }

    /// The number of the last batch in any journal.
    pub(super) fn last(&self) -> Option<u64> {
        self.journals.iter().rev().find_map(|(_, journal)| journal.last())
    }

    /// The number of the last journal.
    pub(super) fn journal(&self) -> u64 {
        self.journals.last().and_then(|(path, _)| number_of(path)).unwrap_or_default()
    }

    /// The last journal, if it ends with an incomplete batch.
    pub(super) fn unfinished(&self) -> Option<(&PathBuf, &Journal)> {
        let (path, journal) = self.journals.last()?;
        (!journal.tail.is_empty()).then_some((path, journal))
    }

    fn look_at_journals(&mut self) {
        let mark = self.mark.as_ref().map(|(_, mark)| mark.clone());
        let given_up = mark.as_ref().map_or(0, |mark| mark.given_up);
        let mut before: Option<u64> = None;
        for (path, journal) in &self.journals {
            let name = path.file_name().unwrap_or_default().display();
            for hole in &journal.holes {
                let (length, at) = (hole.len(), hole.start);
                self.damage.push(format!(
                    "{length} octets of the journal {name} cannot be read, from octet {at} on, and intact ones follow"
                ));
            }
            for &(first, last) in &journal.numbers {
                if let Some(before) = before
                    && before + 1 != first
                    // Some of the batches between were not given up by an earlier repair.
                    && first > given_up + 1
                {
                    self.damage.push(format!("batch {first} in the journal {name} follows batch {before}"));
                }
                before = Some(last);
            }
        }
        let sealed = self.journals.len().saturating_sub(1);
        for (path, journal) in self.journals.iter().take(sealed) {
            if !journal.tail.is_empty() {
                let name = path.file_name().unwrap_or_default().display();
                let length = journal.tail.len();
                self.damage.push(format!("the last {length} octets of the journal {name} cannot be read"));
            }
        }
        if let Some(mark) = mark {
            self.compare(&mark);
        }
    }

    /// Compares the journal's end with the mark of how far it was synced.
    fn compare(&mut self, mark: &Mark) {
        let unreadable = match self.unfinished() {
            Some((_, journal)) => format!("; {} octets behind it cannot be read", journal.tail.len()),
            None => String::new(),
        };
        let number = mark.number;
        let newest = self.journal();
        if newest < mark.journal {
            self.damage.push(format!("the journal {}.jnl is missing", mark.journal));
        }
        let Some(last) = self.last() else {
            // Only the store knows whether a journal that is gone had this batch.
            if number > mark.given_up && newest == mark.journal {
                self.damage
                    .push(format!("the journal has no batch, but batch {number} was confirmed{unreadable}"));
            }
            return;
        };
        if number > mark.given_up && last < number {
            self.damage.push(format!(
                "the journal ends with batch {last}, but batch {number} was confirmed{unreadable}"
            ));
        } else if mark.is_clean && (last > number || !unreadable.is_empty()) {
            self.damage.push(format!(
                "the end was a clean one, with batch {number}, but the journal ends with batch {last}{unreadable}"
            ));
        }
    }

    fn look_at_keyspaces(&mut self, folder: &Path) -> io::Result<()> {
        let all = std::iter::once(0).chain(self.contents.keyspaces.keys().copied());
        for number in all {
            let is_what = match Lists::of(&keyspace(folder, number))? {
                Lists::Whole => continue,
                Lists::Missing => "is missing or not whole",
                Lists::Damaged => "has a list of its parts that cannot be read",
            };
            let name = self.contents.keyspaces.get(&number).map_or("the list of them all", String::as_str);
            self.damage.push(format!("the keyspace {number} ({name}) {is_what}"));
            self.missing.push(number);
        }
        Ok(())
    }
}

/// The folder of a keyspace.
pub(super) fn keyspace(folder: &Path, number: u64) -> PathBuf {
    folder.join(KEYSPACES).join(number.to_string())
}

/// Removes what an interrupted first start left behind, so that the next start is the first.
pub(super) fn begin_again(folder: &Path, found: &Found) -> io::Result<()> {
    for (path, _) in &found.journals {
        fs::remove_file(path)?;
    }
    let removed = [fs::remove_file(folder.join(VERSION)), fs::remove_dir_all(folder.join(KEYSPACES))];
    let failed = removed
        .into_iter()
        .find_map(|removed| removed.err().filter(|error| error.kind() != ErrorKind::NotFound));
    failed.map_or(Ok(()), Err)
}

/// Tells whether there are records outside of journals, apart from the list of keyspaces.
fn has_tables(folder: &Path) -> io::Result<bool> {
    let keyspaces = match fs::read_dir(folder.join(KEYSPACES)) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        other => other?,
    };
    for keyspace in keyspaces {
        let keyspace = keyspace?;
        let tables = fs::read_dir(keyspace.path().join("tables"));
        if keyspace.file_name() != "0" && tables.is_ok_and(|mut tables| tables.next().is_some()) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Reads the store's version; tells whether it is there.
fn look_at_version(folder: &Path, damage: &mut Vec<String>) -> Result<bool, DataError> {
    match fs::read(folder.join(VERSION)) {
        Ok(octets) => match octets[..] {
            [b'F', b'J', b'L', format] if format > STORE_FORMAT => {
                Err(DataError::newer(folder, format!("the store's format {format} (known: {STORE_FORMAT})")))
            }
            [b'F', b'J', b'L', STORE_FORMAT] => Ok(true),
            // The first start was interrupted while it wrote the file.
            ref written if STORE_VERSION.starts_with(written) => Ok(false),
            _ => {
                damage.push(format!("the file `{VERSION}` cannot be read"));
                Ok(false)
            }
        },
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(DataError::unusable(folder)(error)),
    }
}

fn look_at_contents(
    folder: &Path,
    said: Said,
    mark: Option<&Mark>,
    damage: &mut Vec<String>,
) -> Result<Contents, DataError> {
    match said {
        Said::Contents(contents) => {
            if mark.is_none() && damage.is_empty() {
                damage.push("the file `synced`, which says how far it was written, is missing".to_owned());
            }
            return Ok(contents);
        }
        Said::Format(format) if format > FORMAT => {
            return Err(DataError::newer(folder, format!("format {format} (known: {FORMAT})")));
        }
        Said::Format(_) | Said::Unreadable => damage.push("the file `contents` cannot be read".to_owned()),
        // A first start was interrupted.
        Said::Nothing if mark.is_none_or(|mark| mark.number == 0) => {}
        Said::Nothing => damage.push("the file `contents` is missing".to_owned()),
    }
    Ok(Contents::default())
}

fn read_journals(
    folder: &Path,
    secret: Option<&super::number::Secret>,
) -> io::Result<Vec<(PathBuf, Journal)>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if let Some(number) = number_of(&path) {
            paths.push((number, path));
        }
    }
    paths.sort();
    let read = |path: PathBuf| {
        let octets = read_written(&path)?;
        Ok((path, Journal::read(&octets, secret)))
    };
    paths.into_iter().map(|(_, path)| read(path)).collect()
}

/// Ends the last journal where a hole begins that is behind the mark: what comes after is not known
/// to have been synced, and in a power loss the parts of it that survive are not in order.
fn end_at_unsynced_hole(journals: &mut [(PathBuf, Journal)], mark: &Mark) -> io::Result<()> {
    let Some(((path, last), earlier)) = journals.split_last_mut() else { return Ok(()) };
    let Some(hole) = last.holes.first() else { return Ok(()) };
    let octets = read_written(path)?;
    let before = Journal::read(octets.get(..hole.start).unwrap_or_default(), Some(&mark.secret));
    let reached = before.last().or_else(|| earlier.iter().rev().find_map(|(_, journal)| journal.last()));
    if reached.unwrap_or_default() >= mark.number {
        let tail = hole.start..last.tail.end;
        *last = Journal { tail, ..before };
    }
    Ok(())
}

/// The number of a journal.
fn number_of(path: &Path) -> Option<u64> {
    let stem = path.file_stem().filter(|_| path.extension().is_some_and(|extension| extension == "jnl"))?;
    stem.to_str()?.parse().ok()
}

/// Reads a file without its preallocated end, where the system can tell the two apart.
fn read_written(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let written = written_to(&file)?.unwrap_or(file.metadata()?.len());
    let mut octets = Vec::new();
    file.rewind()?;
    file.take(written).read_to_end(&mut octets)?;
    Ok(octets)
}

/// The end of the last written part.
#[cfg(target_os = "linux")]
fn written_to(file: &File) -> io::Result<Option<u64>> {
    use rustix::{
        fs::{SeekFrom, seek},
        io::Errno,
    };
    let mut end = 0;
    loop {
        match seek(file, SeekFrom::Data(end)) {
            Ok(begins) => end = seek(file, SeekFrom::Hole(begins))?,
            // Nothing more is written.
            Err(Errno::NXIO) => return Ok(Some(end)),
            Err(Errno::INVAL) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn written_to(_: &File) -> io::Result<Option<u64>> {
    Ok(None)
}
