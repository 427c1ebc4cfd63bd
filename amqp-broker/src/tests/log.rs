//! The log of a test.

use std::{
    io::{self, Write},
    sync::{Arc, Mutex, OnceLock},
};

use tracing::{Dispatch, dispatcher, subscriber::DefaultGuard};

/// Keeps what is logged in this thread.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Listens until the guard is dropped.
    pub(crate) fn listen() -> (Self, DefaultGuard) {
        // While a process has one subscriber, a thread without it that comes by a log line first
        // decides for all threads that nobody wants it.
        static SECOND: OnceLock<Dispatch> = OnceLock::new();
        SECOND.get_or_init(|| Log::default().subscriber());
        let log = Log::default();
        let guard = dispatcher::set_default(&log.subscriber());
        (log, guard)
    }

    fn subscriber(&self) -> Dispatch {
        let log = self.clone();
        Dispatch::new(tracing_subscriber::fmt().with_ansi(false).with_writer(move || log.clone()).finish())
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        text.lines().map(str::to_owned).collect()
    }
}

/// The lines that are logged meanwhile, in this thread.
#[cfg(feature = "filesystem")]
pub(crate) fn logged(act: impl FnOnce()) -> Vec<String> {
    let (log, _guard) = Log::listen();
    act();
    log.lines()
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
