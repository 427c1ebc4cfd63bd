//! Standard output.

use std::io::{self, IsTerminal as _, Write as _};

use crate::error::Error;

/// Standard output, in which what was written gathers until it is flushed.
#[derive(Debug)]
pub(crate) struct Stdout {
    gathered: Vec<u8>,
    is_terminal: bool,
}

/// What gathers before it is written without a flush, in bytes.
const ENOUGH: usize = 64 * 1024;

impl Stdout {
    pub(crate) fn new() -> Self {
        Stdout { gathered: Vec::new(), is_terminal: io::stdout().is_terminal() }
    }

    pub(crate) fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    /// Writes octets as they are.
    ///
    /// # Errors
    /// [`Error::ReaderGone`] when the other end of the pipe is closed, [`Error::Output`].
    pub(crate) fn write(&mut self, octets: &[u8]) -> Result<(), Error> {
        self.gathered.extend_from_slice(octets);
        if self.gathered.len() >= ENOUGH { self.flush() } else { Ok(()) }
    }

    /// Hands what has gathered to the system. What a message's ack follows is flushed before it.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub(crate) fn flush(&mut self) -> Result<(), Error> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        let mut stdout = io::stdout().lock();
        let written = stdout.write_all(&self.gathered).and_then(|()| stdout.flush());
        self.gathered.clear();
        written.map_err(Error::output)
    }
}
