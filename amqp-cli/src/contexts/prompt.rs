//! Asking for a password at the terminal.

use std::{
    fs::{File, OpenOptions},
    io::{self, ErrorKind, Read as _, Write as _},
};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use crate::error::Error;

const INTERRUPT: u8 = 3;
const END: u8 = 4;
const BACKSPACE: u8 = 8;
const DELETE: u8 = 127;

/// Asks for a password at the terminal of the process, whatever its standard input is, and does
/// not echo it.
///
/// # Errors
/// [`Error::System`] without a terminal, [`Error::Interrupted`].
pub(crate) fn password(what: &str) -> Result<String, Error> {
    let system = |source| Error::System { operation: "ask for the password at the terminal", source };
    let mut terminal = OpenOptions::new().read(true).write(true).open("/dev/tty").map_err(system)?;
    let silent =
        Silence::begin(terminal.try_clone().map_err(system)?).map_err(|error| system(error.into()))?;
    write!(terminal, "{what}: ").map_err(system)?;
    let typed = read_line(&mut terminal);
    // If the terminal has gone, nobody sees that the line is not ended.
    let _ = writeln!(terminal);
    drop(silent);
    let typed = typed.map_err(system)?.ok_or(Error::Interrupted)?;
    String::from_utf8(typed).map_err(|_| Error::Usage("the password is not UTF-8".to_owned()))
}

/// Reads up to the end of the line; `None` when it is interrupted.
fn read_line(terminal: &mut File) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let mut octet = [0];
    loop {
        match terminal.read(&mut octet) {
            Ok(0) => return Ok(Some(line)),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        }
        match octet[0] {
            b'\n' | b'\r' | END => return Ok(Some(line)),
            INTERRUPT => return Ok(None),
            BACKSPACE | DELETE => drop(line.pop()),
            other => line.push(other),
        }
    }
}

/// A terminal that does not echo.
///
/// # On drop
/// It echoes again.
struct Silence {
    terminal: File,
    before: Termios,
}

impl Silence {
    fn begin(terminal: File) -> rustix::io::Result<Self> {
        let before = tcgetattr(&terminal)?;
        let mut silent = before.clone();
        silent.local_modes -= LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG;
        tcsetattr(&terminal, OptionalActions::Flush, &silent)?;
        Ok(Silence { terminal, before })
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        // It fails only if the terminal has gone.
        let _ = tcsetattr(&self.terminal, OptionalActions::Now, &self.before);
    }
}
