//! Worker processes that record what they handle, and can be killed at any instant.

use std::{
    ffi::OsString,
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use tempfile::TempDir;

use crate::process::Process;

/// A process of the program `recording_worker`, which handles the messages of one queue.
///
/// # On drop
/// It is killed, by its process id, and its record is removed.
#[derive(Debug)]
pub struct RecordingWorker {
    program: PathBuf,
    arguments: Vec<OsString>,
    process: Process,
    record: File,
    /// The beginning of a line of the record.
    begun: String,
    _folder: TempDir,
}

/// A message that a worker has begun to handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// The number in its body.
    pub number: u64,
    /// Whether it came with the redelivered flag.
    pub redelivered: bool,
}

impl RecordingWorker {
    /// Starts a worker that acknowledges what it has recorded.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn start(program: &Path, url: &str, queue: &str) -> io::Result<Self> {
        Self::start_with(program, [url, queue], None)
    }

    /// Starts a worker that never finishes what it has recorded.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_holding(program: &Path, url: &str, queue: &str) -> io::Result<Self> {
        Self::start_with(program, [url, queue], Some("hold"))
    }

    /// Starts a worker that fails at what it has recorded: each message is retried once after 1 ms,
    /// and then kept in `QUEUE.dead`.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_failing(program: &Path, url: &str, queue: &str) -> io::Result<Self> {
        Self::start_with(program, [url, queue], Some("fail"))
    }

    /// Starts a process that publishes 1 to the queue, and records it when it is confirmed.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_publishing(program: &Path, url: &str, queue: &str) -> io::Result<Self> {
        Self::start_with(program, [url, queue], Some("publish"))
    }

    fn start_with(program: &Path, arguments: [&str; 2], what: Option<&str>) -> io::Result<Self> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("record");
        File::create(&path)?;
        let mut arguments: Vec<OsString> = arguments.map(OsString::from).into();
        arguments.push(path.clone().into());
        arguments.extend(what.map(OsString::from));
        Ok(RecordingWorker {
            process: run(program, &arguments)?,
            program: program.to_owned(),
            arguments,
            record: File::open(path)?,
            begun: String::new(),
            _folder: folder,
        })
    }

    /// Kills it (SIGKILL).
    ///
    /// # Errors
    /// When that fails.
    pub fn kill(&mut self) -> io::Result<()> {
        self.process.kill()
    }

    /// Starts it again after [`kill`](Self::kill), with the same record.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn restart(&mut self) -> io::Result<()> {
        self.process = run(&self.program, &self.arguments)?;
        Ok(())
    }

    /// What it has recorded since this was last called.
    ///
    /// # Errors
    /// When the record cannot be read.
    pub fn records(&mut self) -> io::Result<Vec<Record>> {
        self.record.read_to_string(&mut self.begun)?;
        let end = self.begun.rfind('\n').map_or(0, |last| last + 1);
        let lines: String = self.begun.drain(..end).collect();
        lines.lines().map(|line| read(line).ok_or_else(|| io::Error::other(line.to_owned()))).collect()
    }

    /// Its exit status in words, if it has ended by itself.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn ended(&mut self) -> io::Result<Option<String>> {
        Ok(self.process.ended()?.map(|status| status.to_string()))
    }
}

fn run(program: &Path, arguments: &[OsString]) -> io::Result<Process> {
    Process::start(Command::new(program).args(arguments).stdout(Stdio::null()))
}

fn read(line: &str) -> Option<Record> {
    let (number, redelivered) = line.split_once(' ')?;
    Some(Record { number: number.parse().ok()?, redelivered: redelivered == "true" })
}
