//! The check of a keyspace's lists before the store reads them, because the store trusts the counts
//! in them: a wrong one makes it ask for more memory than there is, which ends the program.
//!
//! The store keeps the list of a keyspace's tables in a file `v1`, `v2` and so on; the file
//! `current` names the last of them, with its checksum. A file of the store, be it such a list or a
//! table, ends with a directory of its sections, and that with a trailer, which has the directory's
//! checksum. The sections of a table have checksums that the store compares by itself.

use std::{
    fs::{self, File},
    io::{self, ErrorKind, Read, Seek, SeekFrom},
    path::Path,
};

use bytes::{Buf, TryGetError};
use xxhash_rust::xxh3::xxh3_128;

/// The file that names the list of tables, and the folder of the tables.
const CURRENT: &str = "current";
const TABLES: &str = "tables";

/// The only kind of checksum that the store writes.
const XXH3: u8 = 0;

/// The beginning of a directory, and of a trailer.
const DIRECTORY: &[u8] = b"TOC!";
const TRAILER: &[u8] = b"SFA!\x01\x00";
/// The length of a trailer: the beginning, the directory's checksum, its place and its length.
const TRAILER_LENGTH: usize = TRAILER.len() + 16 + 8 + 8;

/// The section of the list that names tables, and what follows the number of a table there: a kind
/// of checksum, a checksum, and a sequence number.
const LISTED: &[u8] = b"tables";
const AFTER_NUMBER: usize = 1 + 16 + 8;

/// The state of a keyspace's lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lists {
    /// They are as the store wrote them.
    Whole,
    /// The keyspace is missing, or was never complete.
    Missing,
    /// The list of tables, or the directory of a table, is not what was written.
    Damaged,
}

impl Lists {
    /// Checks the lists of the keyspace in this folder.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub(super) fn of(keyspace: &Path) -> io::Result<Self> {
        let Some(current) = read(&keyspace.join(CURRENT))? else { return Ok(Lists::Missing) };
        let Some(tables) = tables(keyspace, &current)? else { return Ok(Lists::Damaged) };
        for table in tables {
            if !is_table_sound(&keyspace.join(TABLES).join(table.to_string()))? {
                return Ok(Lists::Damaged);
            }
        }
        Ok(Lists::Whole)
    }
}

/// The numbers of the tables that are in use; `None` when their list is damaged. Other tables were
/// being written when the broker ended.
fn tables(keyspace: &Path, mut current: &[u8]) -> io::Result<Option<Vec<u64>>> {
    let (Ok(version), Ok(checksum), Ok(XXH3), []) =
        (current.try_get_u64_le(), current.try_get_u128_le(), current.try_get_u8(), current)
    else {
        return Ok(None);
    };
    let list = read(&keyspace.join(format!("v{version}")))?;
    let list = list.filter(|list| xxh3_128(list) == checksum);
    Ok(list.and_then(|list| section(&list, LISTED).and_then(|listed| numbers(listed).ok())))
}

/// A section of a file.
fn section<'a>(octets: &'a [u8], wanted: &[u8]) -> Option<&'a [u8]> {
    let (rest, trailer) = octets.split_last_chunk()?;
    let at = usize::try_from(Directory::of(trailer, rest.len() as u64)?.at).ok()?;
    let mut directory = rest.get(at..)?.strip_prefix(DIRECTORY)?;
    for _ in 0..directory.try_get_u32_le().ok()? {
        let (at, length) = (directory.try_get_u64_le().ok()?, directory.try_get_u64_le().ok()?);
        let name_length = directory.try_get_u16_le().ok()?;
        let (name, others) = directory.split_at_checked(name_length.into())?;
        if name == wanted {
            let end = usize::try_from(at.checked_add(length)?).ok()?;
            return octets.get(usize::try_from(at).ok()?..end);
        }
        directory = others;
    }
    None
}

/// The numbers of the tables in a list of levels, each of which consists of runs.
fn numbers(mut listed: &[u8]) -> Result<Vec<u64>, TryGetError> {
    let mut numbers = Vec::new();
    for _ in 0..listed.try_get_u8()? {
        for _ in 0..listed.try_get_u8()? {
            for _ in 0..listed.try_get_u32_le()? {
                numbers.push(listed.try_get_u64_le()?);
                listed = listed.get(AFTER_NUMBER..).unwrap_or_default();
            }
        }
    }
    Ok(numbers)
}

/// The place and the checksum of a directory, as the trailer behind it says them.
struct Directory {
    checksum: u128,
    at: u64,
    length: u64,
}

impl Directory {
    /// Reads a trailer at this place, which the directory has to reach to.
    fn of(trailer: &[u8; TRAILER_LENGTH], place: u64) -> Option<Self> {
        let mut rest = trailer.strip_prefix(TRAILER)?;
        let (checksum, at, length) = (rest.get_u128_le(), rest.get_u64_le(), rest.get_u64_le());
        (at.checked_add(length) == Some(place)).then_some(Directory { checksum, at, length })
    }
}

/// Compares the directory of a table with its checksum.
fn is_table_sound(table: &Path) -> io::Result<bool> {
    let mut file = match File::open(table) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        other => other?,
    };
    let Some(place) = file.metadata()?.len().checked_sub(TRAILER_LENGTH as u64) else { return Ok(false) };
    let mut trailer = [0; TRAILER_LENGTH];
    file.seek(SeekFrom::Start(place))?;
    file.read_exact(&mut trailer)?;
    let Some(Directory { checksum, at, length }) = Directory::of(&trailer, place) else { return Ok(false) };
    let mut directory = Vec::new();
    file.seek(SeekFrom::Start(at))?;
    file.take(length).read_to_end(&mut directory)?;
    Ok(xxh3_128(&directory) == checksum)
}

/// The contents of a file; `None` if there is none.
fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    }
}
