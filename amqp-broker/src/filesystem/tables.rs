//! The bindings of an exchange: a file `EXCHANGE.exchange` with a JSON array of
//! `[routing key, pattern, queue]`, under the lock (flock) that kombu takes.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use crate::kombu::binding_member::{BindingMember, BindingTable};

fn path(control: &Path, exchange: &str) -> PathBuf {
    control.join(format!("{exchange}.exchange"))
}

/// The bindings of an exchange; none when it has no file.
///
/// # Errors
/// When the file cannot be read, or is not such a table.
pub(super) fn read(control: &Path, exchange: &str) -> io::Result<BindingTable> {
    let mut file = match File::open(path(control, exchange)) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(BindingTable::default()),
        file => file?,
    };
    file.lock_shared()?;
    Ok(members(&mut file)?.into_iter().collect())
}

/// Adds a binding in front, as kombu does, unless it is there.
///
/// # Errors
/// As [`read`], and when the file cannot be written.
pub(super) fn add(control: &Path, exchange: &str, member: &BindingMember) -> io::Result<()> {
    fs::create_dir_all(control)?;
    let path = path(control, exchange);
    let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
    file.lock()?;
    let mut members = members(&mut file)?;
    if !members.contains(member) {
        members.insert(0, member.clone());
        write(&mut file, &members)?;
    }
    Ok(())
}

/// Removes the bindings for which `goes` is true.
///
/// # Errors
/// As [`add`].
pub(super) fn remove(
    control: &Path,
    exchange: &str,
    goes: impl Fn(&BindingMember) -> bool,
) -> io::Result<()> {
    let mut file = match OpenOptions::new().read(true).write(true).open(path(control, exchange)) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        file => file?,
    };
    file.lock()?;
    let members = members(&mut file)?;
    let left: Vec<_> = members.iter().filter(|member| !goes(member)).cloned().collect();
    if left.len() < members.len() {
        write(&mut file, &left)?;
    }
    Ok(())
}

/// Deletes the file of an exchange.
///
/// # Errors
/// When the file cannot be removed.
pub(super) fn delete(control: &Path, exchange: &str) -> io::Result<()> {
    match fs::remove_file(path(control, exchange)) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// The exchanges that have a file.
///
/// # Errors
/// When the folder cannot be read.
pub(super) fn exchanges(control: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(control) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut exchanges = Vec::new();
    for entry in entries {
        let name = entry?.file_name();
        exchanges.extend(name.to_str().and_then(|name| name.strip_suffix(".exchange")).map(str::to_owned));
    }
    Ok(exchanges)
}

/// The bindings in an open file; an empty file, whose writer has not come to write, has none.
fn members(file: &mut File) -> io::Result<Vec<BindingMember>> {
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let rows: Vec<(String, String, String)> = serde_json::from_str(&text)?;
    let member = |(routing_key, pattern, queue)| BindingMember { routing_key, pattern, queue };
    Ok(rows.into_iter().map(member).collect())
}

fn write(file: &mut File, members: &[BindingMember]) -> io::Result<()> {
    let row = |member: &BindingMember| {
        let BindingMember { routing_key, pattern, queue } = member.clone();
        (routing_key, pattern, queue)
    };
    let text = serde_json::to_vec(&members.iter().map(row).collect::<Vec<_>>())?;
    file.seek(SeekFrom::Start(0))?;
    file.write_all(&text)?;
    file.set_len(text.len() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::backend::ExchangeKind;

    fn member(key: &str, queue: &str) -> BindingMember {
        BindingMember::new(ExchangeKind::Direct, key, queue)
    }

    fn keys(table: &BindingTable) -> Vec<&str> {
        table.iter().map(|member| &*member.routing_key).collect()
    }

    #[test]
    fn bindings_come_and_go() {
        let folder = tempfile::tempdir().unwrap();
        let control = folder.path().join("control");
        assert!(read(&control, "x").unwrap().is_empty());
        assert_eq!(exchanges(&control).unwrap(), [""; 0]);
        for member in [member("a", "q"), member("b", "q"), member("a", "q")] {
            add(&control, "x", &member).unwrap();
        }
        assert_eq!(keys(&read(&control, "x").unwrap()), ["b", "a"]);
        assert_eq!(fs::read_to_string(control.join("x.exchange")).unwrap(), r#"[["b","","q"],["a","","q"]]"#);
        remove(&control, "x", |member| member.routing_key == "b").unwrap();
        assert_eq!(keys(&read(&control, "x").unwrap()), ["a"]);
        remove(&control, "missing", |_| true).unwrap();
        assert_eq!(exchanges(&control).unwrap(), ["x"]);
        delete(&control, "x").unwrap();
        assert!(read(&control, "x").unwrap().is_empty());
    }

    #[test]
    fn a_table_of_kombu_is_read_and_anything_else_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x.exchange");
        fs::write(&file, r#"[["k", "^k$", "q"]]"#).unwrap();
        assert_eq!(read(folder.path(), "x").unwrap().kind(), Some(ExchangeKind::Topic));
        fs::write(&file, "[[1]]").unwrap();
        assert!(read(folder.path(), "x").is_err());
    }
}
