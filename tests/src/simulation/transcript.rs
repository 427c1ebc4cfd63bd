//! The transcript of a run: its hash, and its lines when they are asked for.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::time::Instant;

/// The events of a run, in order.
#[derive(Default)]
pub(super) struct Transcript {
    hash: Fnv,
    lines: Option<Vec<String>>,
}

/// FNV-1a, with 64 bits.
#[derive(Clone, Copy)]
pub(super) struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Fnv(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    pub(super) fn add(&mut self, octets: &[u8]) {
        for octet in octets {
            self.0 = (self.0 ^ u64::from(*octet)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    pub(super) fn value(self) -> u64 {
        self.0
    }
}

impl Transcript {
    /// An empty transcript, which keeps its lines if it is told to.
    pub(super) fn new(keeps_lines: bool) -> Self {
        Transcript { hash: Fnv::default(), lines: keeps_lines.then(Vec::new) }
    }

    pub(super) fn add(&mut self, line: fmt::Arguments<'_>) {
        let line = line.to_string();
        self.hash.add(line.as_bytes());
        self.hash.add(b"\n");
        if let Some(lines) = &mut self.lines {
            lines.push(line);
        }
    }

    pub(super) fn hash(&self) -> u64 {
        self.hash.value()
    }

    /// Takes the lines.
    pub(super) fn take_lines(&mut self) -> Vec<String> {
        self.lines.take().unwrap_or_default()
    }
}

/// A log to which everything that takes part in a run reports what it does, and what is wrong.
/// Clones are handles of the same.
#[derive(Clone)]
pub(super) struct Log {
    began: Instant,
    shared: Arc<Mutex<Logged>>,
}

#[derive(Default)]
struct Logged {
    transcript: Transcript,
    violations: Vec<String>,
}

impl Log {
    /// An empty log; its clock begins now.
    pub(super) fn new(keeps_lines: bool) -> Self {
        let logged = Logged { transcript: Transcript::new(keeps_lines), violations: Vec::new() };
        Log { began: Instant::now(), shared: Arc::new(Mutex::new(logged)) }
    }

    /// Adds a line to the transcript, after the virtual time.
    pub(super) fn add(&self, line: fmt::Arguments<'_>) {
        let now = self.began.elapsed().as_millis();
        self.with(|logged| logged.transcript.add(format_args!("{now} {line}")));
    }

    /// Notes that something is wrong.
    pub(super) fn violation(&self, what: String) {
        self.add(format_args!("WRONG: {what}"));
        self.with(|logged| logged.violations.push(what));
    }

    /// The hash and the lines of the transcript, and what is wrong.
    pub(super) fn take(&self) -> (u64, Vec<String>, Vec<String>) {
        self.with(|logged| {
            let hash = logged.transcript.hash();
            (hash, logged.transcript.take_lines(), std::mem::take(&mut logged.violations))
        })
    }

    fn with<T>(&self, work: impl FnOnce(&mut Logged) -> T) -> T {
        work(&mut self.shared.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
