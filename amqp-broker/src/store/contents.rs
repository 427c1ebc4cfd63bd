//! The description of a folder: the version of its format and the list of its keyspaces, so that a
//! missing one is noticed.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Write},
    path::Path,
};

/// The version of the broker's own format: the records in the store, and the files next to it.
pub(super) const FORMAT: u32 = 1;

/// The name of the file.
const NAME: &str = "contents";

const TITLE: &str = "amqp-broker format ";

/// The description of a folder.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Contents {
    /// The names of the keyspaces, by their numbers.
    pub(super) keyspaces: BTreeMap<u64, String>,
}

/// The result of reading a folder's description.
#[derive(Debug, PartialEq)]
pub(super) enum Said {
    Nothing,
    Contents(Contents),
    /// It has another version.
    Format(u32),
    /// It is unreadable.
    Unreadable,
}

impl Contents {
    pub(super) fn read(folder: &Path) -> io::Result<Said> {
        match fs::read(folder.join(NAME)) {
            Ok(text) => Ok(parse(&String::from_utf8_lossy(&text)).unwrap_or(Said::Unreadable)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Said::Nothing),
            Err(error) => Err(error),
        }
    }

    /// Writes it atomically; it is on disk when this returns.
    pub(super) fn write(&self, folder: &Path) -> io::Result<()> {
        let mut text = format!("{TITLE}{FORMAT}\n");
        for (number, name) in &self.keyspaces {
            text.push_str(&format!("{number} {name}\n"));
        }
        text.push_str("end\n");
        let new = folder.join(format!("{NAME}.new"));
        let mut file = File::create(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, folder.join(NAME))?;
        sync_folder(folder)
    }
}

/// Syncs a folder: files that were created, renamed or removed in it are so on disk when this
/// returns.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn parse(text: &str) -> Option<Said> {
    let mut lines = text.lines();
    let format = lines.next()?.strip_prefix(TITLE)?.parse().ok()?;
    if format != FORMAT {
        return Some(Said::Format(format));
    }
    let mut keyspaces = BTreeMap::new();
    loop {
        match lines.next()? {
            "end" => return Some(Said::Contents(Contents { keyspaces })),
            line => {
                let (number, name) = line.split_once(' ')?;
                keyspaces.insert(number.parse().ok()?, name.to_owned());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_as_it_was_written_and_nothing_else_is() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Contents::read(folder.path()).unwrap(), Said::Nothing);
        let keyspaces = BTreeMap::from([(1, "_2f.topology".to_owned()), (12, ".messages".to_owned())]);
        let contents = Contents { keyspaces };
        contents.write(folder.path()).unwrap();
        assert_eq!(Contents::read(folder.path()).unwrap(), Said::Contents(contents));
        let file = folder.path().join(NAME);
        let text = fs::read_to_string(&file).unwrap();
        for (changed, expected) in [
            (text.replace("format 1", "format 2"), Said::Format(2)),
            (text.replace("end\n", ""), Said::Unreadable),
            (text.replace("12 ", "x "), Said::Unreadable),
            (String::new(), Said::Unreadable),
        ] {
            fs::write(&file, changed).unwrap();
            assert_eq!(Contents::read(folder.path()).unwrap(), expected);
        }
    }
}
