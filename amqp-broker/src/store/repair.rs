//! The repair: damaged parts are set aside in a folder of their own, and the rest is made
//! consistent.

use std::{
    fs::{self, File},
    io::{self, ErrorKind, Write},
    ops::Range,
    path::{Path, PathBuf},
    time::SystemTime,
};

use super::{
    batches::Journal,
    check::{Found, STORE_VERSION, VERSION, keyspace},
    contents::sync_folder,
    error::{DataError, cause},
    rebuild::{self, Rebuilt},
    room::Room,
};

/// The folder where damaged parts are set aside.
pub(super) struct Aside {
    pub(super) folder: PathBuf,
    /// The report of what was lost.
    report: File,
    is_empty: bool,
}

impl Aside {
    /// Creates the folder next to the good parts.
    pub(super) fn make(folder: &Path) -> io::Result<Self> {
        let seconds = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_secs();
        for attempt in 0u32.. {
            let suffix = if attempt == 0 { String::new() } else { format!("-{attempt}") };
            let aside = folder.join(format!("damaged-{seconds}{suffix}"));
            match fs::create_dir(&aside) {
                Ok(()) => {
                    let report = File::create_new(aside.join("report"))?;
                    return Ok(Aside { folder: aside, report, is_empty: true });
                }
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(ErrorKind::AlreadyExists.into())
    }

    /// Adds a line to the log and the report.
    pub(super) fn say(&mut self, words: &str) -> io::Result<()> {
        self.is_empty = false;
        tracing::error!("{words}");
        writeln!(self.report, "{words}")?;
        self.report.sync_all()
    }

    /// Sets aside a record that can no longer be used.
    pub(super) fn keep_record(&mut self, name: &str, key: &[u8], value: &[u8]) -> io::Result<()> {
        self.is_empty = false;
        let options = fs::OpenOptions::new().create(true).append(true).clone();
        let mut file = io::BufWriter::new(options.open(self.folder.join(name))?);
        for part in [key, value] {
            file.write_all(&(part.len() as u64).to_le_bytes())?;
            file.write_all(part)?;
        }
        file.flush()
    }

    /// Completes the folder, or removes it if nothing was damaged.
    pub(super) fn finish(self) -> io::Result<()> {
        if self.is_empty {
            tracing::info!("nothing is damaged");
            return fs::remove_dir_all(&self.folder);
        }
        tracing::warn!("the damaged parts are in {}", self.folder.display());
        Ok(())
    }

    fn take(&self, path: &Path) -> io::Result<()> {
        let Some(name) = path.file_name() else { return Ok(()) };
        fs::rename(path, self.folder.join(name))
    }
}

/// Sets aside the damaged parts.
pub(super) fn repair(folder: &Path, found: &Found, room: Room, aside: &mut Aside) -> Result<(), DataError> {
    let unusable = DataError::unusable(folder);
    for words in &found.damage {
        aside.say(words).map_err(&unusable)?;
    }
    for (path, journal) in &found.journals {
        if journal.unreadable() > 0 {
            repair_journal(path, journal, aside).map_err(&unusable)?;
        }
    }
    if !found.has_version {
        // The file is replaced whatever it contains.
        fs::write(folder.join(VERSION), STORE_VERSION).map_err(&unusable)?;
    }
    sync_folder(folder).map_err(&unusable)?;
    if !found.contents.keyspaces.is_empty() {
        repair_keyspaces(folder, found, room, aside)?;
    }
    Ok(())
}

/// Replaces a damaged journal by one with all intact batches.
fn repair_journal(path: &Path, journal: &Journal, aside: &mut Aside) -> io::Result<()> {
    let octets = fs::read(path)?;
    aside.take(path)?;
    let mut file = File::create_new(path)?;
    for Range { start, end } in journal.intact.iter().cloned() {
        file.write_all(octets.get(start..end).unwrap_or_default())?;
    }
    file.sync_all()?;
    let name = path.file_name().unwrap_or_default().display();
    let (lost, kept) = (journal.unreadable(), journal.intact.iter().map(Range::len).sum::<usize>());
    aside.say(&format!("the journal {name} is set aside: {lost} octets are lost, {kept} were kept"))
}

/// Replaces each keyspace that is not readable to its end by one with the readable records.
fn repair_keyspaces(folder: &Path, found: &Found, room: Room, aside: &mut Aside) -> Result<(), DataError> {
    let unusable = DataError::unusable(folder);
    let of_store = |error| DataError::Unusable { path: folder.to_owned(), source: cause(folder, error) };
    let is_missing = |number: u64| found.missing.contains(&number);
    let mut damaged: Vec<(u64, String)> = Vec::new();
    let fresh = rebuild::fresh(&aside.folder, &found.contents, room).map_err(of_store)?;
    if is_missing(0) || !rebuild::is_list_whole(folder, &aside.folder) {
        damaged.push((0, "the list of the keyspaces was made anew".to_owned()));
    }
    for (&number, name) in &found.contents.keyspaces {
        // Without a list the keyspaces are examined with the new one.
        let list = if damaged.iter().any(|(number, _)| *number == 0) { fresh.folder() } else { folder };
        let readable = match is_missing(number) {
            true => Vec::new(),
            false => match rebuild::examine(folder, list, &aside.folder, number, name) {
                Ok(()) => continue,
                Err(readable) => readable,
            },
        };
        let count = readable.len();
        rebuild::fill(&fresh, name, readable, room).map_err(of_store)?;
        damaged.push((number, format!(
            "the keyspace {number} ({name}) is set aside: of what was in it {count} records were kept, and what the journals have"
        )));
    }
    for (number, words) in damaged {
        replace(folder, number, &fresh, aside).map_err(&unusable)?;
        aside.say(&words).map_err(&unusable)?;
    }
    fresh.remove().map_err(&unusable)
}

/// Replaces a keyspace that is set aside or missing.
fn replace(folder: &Path, number: u64, fresh: &Rebuilt, aside: &Aside) -> io::Result<()> {
    let place = keyspace(folder, number);
    let kept = keyspace(&aside.folder, number);
    if place.exists() {
        if let Some(parent) = kept.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::rename(&place, kept)?;
    }
    if let Some(parent) = place.parent() {
        fs::create_dir_all(parent)?;
        fs::rename(fresh.keyspace(number), &place)?;
        sync_folder(parent)?;
    }
    Ok(())
}
