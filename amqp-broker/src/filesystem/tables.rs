//! The bindings of an exchange: a file `EXCHANGE.exchange` with a JSON array of
//! `[routing key, pattern, queue]`, under the lock (flock) that kombu takes.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use super::left_alone::LeftAlone;
use crate::kombu::binding_member::{BindingMember, BindingTable};

/// A file has the name of an exchange's bindings, and cannot be read as such.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the file {file} has no bindings that can be read: {why}")]
pub(super) struct NoTable {
    pub(super) file: String,
    pub(super) why: String,
}

impl NoTable {
    /// Returns what an error tells of a file; `None` when the folder fails.
    pub(super) fn of(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }

    /// An error about a file, as one about the folder remains what it is.
    fn found(exchange: &str, error: io::Error) -> io::Error {
        match error.kind() {
            ErrorKind::InvalidData
            | ErrorKind::UnexpectedEof
            | ErrorKind::IsADirectory
            | ErrorKind::PermissionDenied => {
                let no_table = NoTable { file: file_name(exchange), why: error.to_string() };
                io::Error::new(ErrorKind::InvalidData, no_table)
            }
            _ => error,
        }
    }
}

fn file_name(exchange: &str) -> String {
    format!("{exchange}.exchange")
}

fn path(control: &Path, exchange: &str) -> PathBuf {
    control.join(file_name(exchange))
}

/// The bindings of an exchange; none when it has no file.
///
/// # Errors
/// When the file cannot be read, or is not such a table ([`NoTable`]).
pub(super) fn read(control: &Path, exchange: &str) -> io::Result<BindingTable> {
    let Some(mut file) = open(control, exchange, OpenOptions::new().read(true))? else {
        return Ok(BindingTable::default());
    };
    file.lock_shared()?;
    Ok(members(&mut file, exchange)?.into_iter().collect())
}

/// Opens the file of an exchange; `None` when it has none.
fn open(control: &Path, exchange: &str, options: &OpenOptions) -> io::Result<Option<File>> {
    match options.open(path(control, exchange)) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(NoTable::found(exchange, error)),
    }
}

/// Adds a binding in front, as kombu does, unless it is there.
///
/// # Errors
/// As [`read`], and when the file cannot be written.
pub(super) fn add(control: &Path, exchange: &str, member: &BindingMember) -> io::Result<()> {
    fs::create_dir_all(control)?;
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    let file = options.open(path(control, exchange));
    let mut file = file.map_err(|error| NoTable::found(exchange, error))?;
    file.lock()?;
    let mut members = members(&mut file, exchange)?;
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
    let Some(mut file) = open(control, exchange, OpenOptions::new().read(true).write(true))? else {
        return Ok(());
    };
    file.lock()?;
    let members = members(&mut file, exchange)?;
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

/// Tells whether a queue has bindings. Tables that cannot be read are left alone.
///
/// # Errors
/// When the folder cannot be read.
pub(super) fn has_queue(control: &Path, queue: &str, left_alone: &LeftAlone) -> io::Result<bool> {
    for exchange in exchanges(control)? {
        let table = readable(read(control, &exchange), left_alone)?;
        if table.is_some_and(|table| table.iter().any(|member| member.queue == queue)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Removes all bindings of a queue. Tables that cannot be read are left alone.
///
/// # Errors
/// When the folder cannot be read, or a file cannot be written.
pub(super) fn remove_queue(control: &Path, queue: &str, left_alone: &LeftAlone) -> io::Result<()> {
    for exchange in exchanges(control)? {
        readable(remove(control, &exchange, |member| member.queue == queue), left_alone)?;
    }
    Ok(())
}

/// `None` for a table that cannot be read, which is logged.
fn readable<T>(done: io::Result<T>, left_alone: &LeftAlone) -> io::Result<Option<T>> {
    match done {
        Ok(done) => Ok(Some(done)),
        Err(error) => {
            let NoTable { file, why } = NoTable::of(&error).cloned().ok_or(error)?;
            left_alone.log(&file, why);
            Ok(None)
        }
    }
}

/// The exchanges that have a file.
///
/// # Errors
/// When the folder cannot be read.
fn exchanges(control: &Path) -> io::Result<Vec<String>> {
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
fn members(file: &mut File, exchange: &str) -> io::Result<Vec<BindingMember>> {
    let rows = rows(file).map_err(|error| NoTable::found(exchange, error))?;
    let member = |(routing_key, pattern, queue)| BindingMember { routing_key, pattern, queue };
    Ok(rows.into_iter().map(member).collect())
}

fn rows(file: &mut File) -> io::Result<Vec<(String, String, String)>> {
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    if text.is_empty() { Ok(Vec::new()) } else { Ok(serde_json::from_str(&text)?) }
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
    use crate::tests::log::logged;

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
    fn bindings_that_come_and_go_at_once_are_neither_lost_nor_half_read() {
        const MANY: usize = 300;
        let folder = tempfile::tempdir().unwrap();
        let control = folder.path();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                (0..MANY).for_each(|key| add(control, "x", &member(&key.to_string(), "stays")).unwrap());
            });
            scope.spawn(|| {
                for key in 0..MANY {
                    add(control, "x", &member(&"long".repeat(key), "goes")).unwrap();
                    remove(control, "x", |member| member.queue == "goes").unwrap();
                }
            });
            scope.spawn(|| (0..MANY).for_each(|_| _ = read(control, "x").unwrap()));
        });
        assert_eq!(read(control, "x").unwrap().iter().count(), MANY);
    }

    #[test]
    fn a_table_of_kombu_is_read_and_anything_else_is_left_alone_and_logged_once() {
        let folder = tempfile::tempdir().unwrap();
        let control = folder.path();
        let file = control.join("x.exchange");
        fs::write(&file, r#"[["k", "^k$", "q"]]"#).unwrap();
        assert_eq!(read(control, "x").unwrap().kind(), Some(ExchangeKind::Topic));
        for content in [&b"[[1]]"[..], b"[[\"k\", \"", b"no JSON", b"\xff\xfe"] {
            fs::write(&file, content).unwrap();
            let error = read(control, "x").unwrap_err();
            assert_eq!(NoTable::of(&error).unwrap().file, "x.exchange", "{error}");
            let left_alone = LeftAlone::default();
            let lines = logged(|| {
                assert!(!has_queue(control, "q", &left_alone).unwrap());
                remove_queue(control, "q", &left_alone).unwrap();
            });
            assert_eq!(lines.len(), 1, "{lines:?}");
            assert!(lines[0].contains("left alone file=\"x.exchange\""), "{lines:?}");
            assert_eq!(fs::read(&file).unwrap(), content);
        }
    }

    #[test]
    fn a_table_that_cannot_be_read_hides_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let (control, left_alone) = (folder.path(), LeftAlone::default());
        fs::create_dir(control.join("a.exchange")).unwrap();
        fs::write(control.join("c.exchange"), "damaged").unwrap();
        add(control, "b", &member("k", "q")).unwrap();
        assert!(has_queue(control, "q", &left_alone).unwrap());
        remove_queue(control, "q", &left_alone).unwrap();
        assert!(read(control, "b").unwrap().is_empty());
        assert!(NoTable::of(&add(control, "a", &member("k", "q")).unwrap_err()).is_some());
    }
}
