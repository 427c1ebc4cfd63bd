//! The virtual hosts that were created while the broker ran: a file of the folder lists them.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::Path,
};

use super::{super::contents::sync_folder, Folder};
use crate::store::DataError;

/// The name of the file.
const NAME: &str = "vhosts";

const TITLE: &str = "amqp-broker virtual hosts 1";

#[cfg_attr(not(feature = "management"), allow(dead_code))]
impl Folder {
    /// The folder's path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The virtual hosts that were created and not deleted.
    ///
    /// # Errors
    /// When the file that lists them cannot be read.
    pub(crate) fn created_vhosts(&self) -> Result<Vec<String>, DataError> {
        read(&self.path).map_err(DataError::unusable(&self.path))
    }

    /// Notes that a virtual host was created; it is on disk when this returns.
    ///
    /// # Errors
    /// When the file that lists them cannot be read or written.
    pub(crate) fn vhost_created(&self, name: &str) -> Result<(), DataError> {
        self.change(|names| {
            if !names.iter().any(|own| own == name) {
                names.push(name.to_owned());
            }
        })
    }

    /// Notes that a virtual host was deleted; it is on disk when this returns.
    ///
    /// # Errors
    /// When the file that lists them cannot be read or written.
    pub(crate) fn vhost_deleted(&self, name: &str) -> Result<(), DataError> {
        self.change(|names| names.retain(|own| own != name))
    }

    fn change(&self, change: impl FnOnce(&mut Vec<String>)) -> Result<(), DataError> {
        let changed = read(&self.path).and_then(|mut names| {
            let before = names.clone();
            change(&mut names);
            if names == before { Ok(()) } else { write(&self.path, &names) }
        });
        changed.map_err(DataError::unusable(&self.path))
    }
}

fn read(folder: &Path) -> io::Result<Vec<String>> {
    let text = match fs::read_to_string(folder.join(NAME)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    parse(&text).ok_or_else(|| {
        let why = format!("the file `{NAME}`, which lists virtual hosts, cannot be read");
        io::Error::new(io::ErrorKind::InvalidData, why)
    })
}

/// Writes the file atomically; it is on disk when this returns.
fn write(folder: &Path, names: &[String]) -> io::Result<()> {
    let mut text = format!("{TITLE}\n");
    for name in names {
        // A name may contain anything, a newline too.
        text.extend(name.bytes().map(|octet| format!("{octet:02x}")));
        text.push('\n');
    }
    text.push_str("end\n");
    let new = folder.join(format!("{NAME}.new"));
    let mut file = File::create(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, folder.join(NAME))?;
    sync_folder(folder)
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
