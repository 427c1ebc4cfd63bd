//! The log of a test.

use std::{
    io::{self, Write},
    sync::{Arc, Mutex, OnceLock},
};

use tracing::{Dispatch, Level, dispatcher, subscriber::DefaultGuard};
use tracing_subscriber::fmt::MakeWriter;

/// Collects the log of this thread.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    pub(crate) fn listen() -> (Self, DefaultGuard) {
        Log::listen_from(Level::INFO)
    }

    /// Collects what has at least this level.
    pub(crate) fn listen_from(level: Level) -> (Self, DefaultGuard) {
        // While a process has one subscriber, a thread without it that comes by a log line first
        // decides for all threads that nobody wants it.
        static SECOND: OnceLock<Dispatch> = OnceLock::new();
        SECOND.get_or_init(|| Log::default().subscriber(Level::INFO));
        let log = Log::default();
        let guard = dispatcher::set_default(&log.subscriber(level));
        (log, guard)
    }

    fn subscriber(&self, level: Level) -> Dispatch {
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(level)
            .with_ansi(false)
            .without_time()
            .with_writer(self.clone())
            .finish();
        Dispatch::new(subscriber)
    }

    /// All that was logged since the last time.
    pub(crate) fn take(&self) -> String {
        String::from_utf8(std::mem::take(&mut self.0.lock().unwrap())).unwrap()
    }

    /// The lines with these words.
    pub(crate) fn lines(&self, words: &str) -> Vec<String> {
        let log = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        log.lines().filter(|line| line.contains(words)).map(str::to_owned).collect()
    }

    /// The first line with these words.
    pub(crate) fn line(&self, words: &str) -> String {
        self.lines(words).into_iter().next().unwrap_or_else(|| panic!("nothing is logged of {words}"))
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Log;

    fn make_writer(&'a self) -> Log {
        self.clone()
    }
}
