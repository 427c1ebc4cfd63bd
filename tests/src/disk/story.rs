//! The story of a folder: which changes were made to each file and to the names of files, and which
//! of them a sync covered.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    ops::Range,
    path::{Path, PathBuf},
};

use super::log::{Kind, Log, Record};

const CREATE: u32 = 0o100;
const TRUNCATE: u32 = 0o1000;

/// A span of ticks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) start: u64,
    pub(super) end: u64,
}

/// A change of a file.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) span: Span,
    pub(super) what: What,
}

#[derive(Clone, Debug)]
pub(super) enum What {
    /// Data at an offset, by their place in the log.
    Data {
        at: u64,
        data: Range<usize>,
    },
    Length(u64),
}

/// A file or a folder.
#[derive(Debug, Default)]
pub(super) struct File {
    pub(super) is_folder: bool,
    pub(super) changes: Vec<Change>,
    pub(super) syncs: Vec<Span>,
    /// Syncs that failed: the system forgets what was to be written, and a later sync says nothing
    /// about it.
    pub(super) failed: Vec<Span>,
}

/// A change of names.
#[derive(Clone, Debug)]
pub(super) enum Naming {
    Put(PathBuf, usize),
    Remove(PathBuf),
    Move(PathBuf, PathBuf),
}

/// A sync that makes this many of the changes of names durable.
#[derive(Clone, Copy, Debug)]
pub(super) struct NamesSynced {
    pub(super) span: Span,
    pub(super) count: usize,
}

/// The story of a folder.
///
/// Names change in order, as in a journaling file system: the sync of a folder makes what happened
/// in it durable, `fsync` of a file its name, and each of them all that happened to names before.
#[derive(Debug, Default)]
pub(super) struct Story {
    pub(super) files: Vec<File>,
    pub(super) namings: Vec<(Span, Naming)>,
    pub(super) names_synced: Vec<NamesSynced>,
}

/// The files that are open, and the names that there are, at a moment of the recording.
#[derive(Default)]
struct Now {
    names: BTreeMap<PathBuf, usize>,
    open: HashMap<i32, usize>,
}

impl Story {
    /// Follows a log from its beginning, with an empty folder.
    ///
    /// # Errors
    /// When it has a call that is not understood.
    pub(super) fn follow(log: &Log) -> io::Result<Self> {
        let (mut story, mut now) = (Story::default(), Now::default());
        for record in &log.records {
            let followed = story.step(record, &mut now);
            followed.ok_or_else(|| io::Error::other(format!("not understood: {record:?}")))?;
        }
        Ok(story)
    }

    fn step(&mut self, record: &Record, now: &mut Now) -> Option<()> {
        let span = Span { start: record.start, end: record.end };
        if record.result < 0 && record.kind != Kind::Sync {
            return Some(());
        }
        match record.kind {
            Kind::Begin => now.open.clear(),
            Kind::Open => self.open(record, span, now)?,
            Kind::Write => {
                let (at, data) = (record.offset, record.data.clone());
                self.change(*now.open.get(&record.fd)?, span, What::Data { at, data });
            }
            Kind::Length => self.change(*now.open.get(&record.fd)?, span, What::Length(record.length)),
            // A sync that was swallowed did nothing.
            Kind::Sync if record.flags != 0 => {}
            Kind::Sync => self.sync(*now.open.get(&record.fd)?, record, span, now),
            Kind::Rename => {
                let file = now.names.remove(&record.path)?;
                now.names.insert(record.second.clone(), file);
                self.namings.push((span, Naming::Move(record.path.clone(), record.second.clone())));
            }
            Kind::Unlink | Kind::RemoveFolder => {
                now.names.remove(&record.path)?;
                self.namings.push((span, Naming::Remove(record.path.clone())));
            }
            Kind::MakeFolder => drop(self.create(&record.path, true, span, now)),
            Kind::Close => drop(now.open.remove(&record.fd)),
            Kind::Duplicate => {
                let file = *now.open.get(&record.fd)?;
                now.open.insert(record.other, file);
            }
            Kind::Other => return None,
        }
        Some(())
    }

    fn open(&mut self, record: &Record, span: Span, now: &mut Now) -> Option<()> {
        let file = match now.names.get(&record.path) {
            Some(file) => *file,
            None if record.flags & CREATE != 0 => self.create(&record.path, false, span, now),
            None => return None,
        };
        if record.flags & TRUNCATE != 0 {
            self.change(file, span, What::Length(0));
        }
        let fd = i32::try_from(record.result).ok()?;
        now.open.insert(fd, file);
        Some(())
    }

    fn create(&mut self, path: &Path, is_folder: bool, span: Span, now: &mut Now) -> usize {
        let file = self.files.len();
        self.files.push(File { is_folder, ..File::default() });
        now.names.insert(path.to_owned(), file);
        self.namings.push((span, Naming::Put(path.to_owned(), file)));
        file
    }

    fn change(&mut self, file: usize, span: Span, what: What) {
        self.files[file].changes.push(Change { span, what });
    }

    fn sync(&mut self, file: usize, record: &Record, span: Span, now: &Now) {
        if record.result < 0 {
            self.files[file].failed.push(span);
            return;
        }
        self.files[file].syncs.push(span);
        let is_of_data_only = record.length != 0;
        let path = now.names.iter().find(|(_, named)| **named == file).map(|(path, _)| path);
        let (Some(path), false) = (path, is_of_data_only) else { return };
        let is_folder = self.files[file].is_folder;
        let concerns = |name: &Path| match is_folder {
            true => name.parent() == Some(path) || name == path,
            false => name == path,
        };
        let last = self.namings.iter().rposition(|(made, naming)| {
            made.end < span.start
                && match naming {
                    Naming::Put(name, _) | Naming::Remove(name) => concerns(name),
                    Naming::Move(from, to) => concerns(from) || concerns(to),
                }
        });
        let count = last.map_or(0, |last| last + 1);
        self.names_synced.push(NamesSynced { span, count });
    }
}
