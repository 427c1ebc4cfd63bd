//! Small files of a folder that are replaced as a whole.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::Path,
};

/// Writes a file atomically: a reader finds what was in it before, or all of this. It is on disk
/// when this returns.
pub(super) fn replace(folder: &Path, name: &str, content: &[u8]) -> io::Result<()> {
    let new = folder.join(format!("{name}.new"));
    let mut file = File::create(&new)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&new, folder.join(name))?;
    // So is its new name.
    File::open(folder)?.sync_all()
}
