//! The recorder's log: what a program did to the files of a folder, call by call.

use std::{
    fs, io,
    ops::Range,
    path::{Path, PathBuf},
};

use bytes::Buf;

/// The length of a record's head.
const HEAD: usize = 80;

/// The action of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The process began; nothing is open.
    Begin,
    Open,
    Write,
    Length,
    Sync,
    Rename,
    Unlink,
    MakeFolder,
    RemoveFolder,
    Close,
    Duplicate,
    /// Something that the replay does not know.
    Other,
}

/// One call. Paths are relative to the folder.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) kind: Kind,
    /// Its number among the calls that may fail, or 0.
    pub(super) counted: u32,
    pub(super) fd: i32,
    pub(super) other: i32,
    /// The value that it returned: a negative number is an error.
    pub(super) result: i64,
    /// The times of its start and its end, as ticks: no two are equal.
    pub(super) start: u64,
    pub(super) end: u64,
    /// The time of its end by the monotonic clock, in nanoseconds.
    pub(super) now: u64,
    pub(super) offset: u64,
    pub(super) length: u64,
    pub(super) flags: u32,
    pub(super) path: PathBuf,
    pub(super) second: PathBuf,
    /// The place of its data in the log.
    pub(super) data: Range<usize>,
}

/// The whole log.
pub(super) struct Log {
    pub(super) octets: Vec<u8>,
    pub(super) records: Vec<Record>,
}

impl Log {
    /// Reads a log about this folder.
    pub(super) fn read(file: &Path, folder: &Path) -> io::Result<Self> {
        let octets = fs::read(file)?;
        let mut records = Vec::new();
        let mut at = 0;
        // The last record may be cut off, when the process was killed.
        let (mut base, mut last) = (0, 0);
        while let Some(mut record) = read(&octets, &mut at, folder) {
            // The ticks of each process begin anew.
            if record.kind == Kind::Begin {
                base = last;
            }
            (record.start, record.end) = (base + record.start, base + record.end);
            last = record.end;
            records.push(record);
        }
        Ok(Log { octets, records })
    }

    /// Returns how many calls may fail.
    pub(super) fn counted(&self) -> u32 {
        self.records.iter().map(|record| record.counted).max().unwrap_or(0)
    }
}

fn read(octets: &[u8], at: &mut usize, folder: &Path) -> Option<Record> {
    let mut head = octets.get(*at..*at + HEAD)?;
    let kind = kind(head.get_u32_le())?;
    let counted = head.get_u32_le();
    let (fd, other, result) = (head.get_i32_le(), head.get_i32_le(), head.get_i64_le());
    let (start, end, now) = (head.get_u64_le(), head.get_u64_le(), head.get_u64_le());
    let (offset, length) = (head.get_u64_le(), head.get_u64_le());
    let lengths = [head.get_u32_le(), head.get_u32_le(), head.get_u32_le()].map(|length| length as usize);
    let flags = head.get_u32_le();
    let mut ends = *at + HEAD;
    let parts = lengths.map(|length| {
        ends += length;
        ends - length..ends
    });
    let text = |part: &Range<usize>| Some(String::from_utf8_lossy(octets.get(part.clone())?).into_owned());
    let [path, second] = [text(&parts[0])?, text(&parts[1])?]
        .map(|path| Path::new(&path).strip_prefix(folder).map(Path::to_owned).unwrap_or_default());
    let [_, _, data] = parts;
    octets.get(data.clone())?;
    *at = ends;
    Some(Record {
        kind,
        counted,
        fd,
        other,
        result,
        start,
        end,
        now,
        offset,
        length,
        flags,
        path,
        second,
        data,
    })
}

fn kind(number: u32) -> Option<Kind> {
    let kinds = [
        Kind::Begin,
        Kind::Open,
        Kind::Write,
        Kind::Length,
        Kind::Sync,
        Kind::Rename,
        Kind::Unlink,
        Kind::MakeFolder,
        Kind::RemoveFolder,
        Kind::Close,
        Kind::Duplicate,
        Kind::Other,
    ];
    kinds.get(number as usize).copied()
}
