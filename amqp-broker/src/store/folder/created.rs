//! The virtual hosts that were created while the broker ran: a file of the folder lists them.

use std::{fs, io, path::Path};

#[cfg(any(test, feature = "management"))]
use super::replaced::replace;

/// The name of the file.
const NAME: &str = "vhosts";

const TITLE: &str = "amqp-broker virtual hosts 1";

/// The virtual hosts that were created and not deleted.
///
/// # Errors
/// When the file that lists them cannot be read.
pub(super) fn read(folder: &Path) -> io::Result<Vec<String>> {
    let text = match fs::read_to_string(folder.join(NAME)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    parse(&text).ok_or_else(|| {
        let why = format!("the file `{NAME}`, which lists virtual hosts, cannot be read");
        io::Error::new(io::ErrorKind::InvalidData, why)
    })
}

/// Changes the list; it is on disk when this returns.
///
/// # Errors
/// When the file cannot be read or written.
#[cfg(feature = "management")]
pub(super) fn change(folder: &Path, change: impl FnOnce(&mut Vec<String>)) -> io::Result<()> {
    let mut names = read(folder)?;
    let before = names.clone();
    change(&mut names);
    if names == before { Ok(()) } else { write(folder, &names) }
}

/// Writes the list; it is on disk when this returns.
#[cfg(any(test, feature = "management"))]
fn write(folder: &Path, names: &[String]) -> io::Result<()> {
    let mut text = format!("{TITLE}\n");
    for name in names {
        // A name may contain anything, a newline too.
        text.extend(name.bytes().map(|octet| format!("{octet:02x}")));
        text.push('\n');
    }
    text.push_str("end\n");
    replace(folder, NAME, text.as_bytes())
}

fn parse(text: &str) -> Option<Vec<String>> {
    let mut lines = text.lines();
    if lines.next()? != TITLE {
        return None;
    }
    let mut names = Vec::new();
    loop {
        match lines.next()? {
            "end" => return Some(names),
            line => {
                let pairs = line.as_bytes().chunks(2);
                let octets: Option<Vec<u8>> =
                    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect();
                names.push(String::from_utf8(octets?).ok()?);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_read_as_it_was_written_and_nothing_else_is() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read(folder.path()).unwrap(), Vec::<String>::new());
        let names = ["a/b", "ä\n", "end"].map(str::to_owned);
        write(folder.path(), &names).unwrap();
        assert_eq!(read(folder.path()).unwrap(), names);
        fs::write(folder.path().join(NAME), TITLE).unwrap();
        assert_eq!(read(folder.path()).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
