//! The thread that writes the changes of a virtual host to its files.

use std::{io, path::PathBuf, sync::Arc};

use crate::{
    core::{
        journal::records::{Changes, Stored},
        vhost::Vhost,
    },
    failure::Failure,
    sync::thread,
};

use super::{
    disk::{Added, Disk, DiskQueue, DiskReport},
    error::{DataError, cause},
    files::{Files, Restored, format::fnv},
    folder::Folder,
};

/// The longest part of a file name that is taken unchanged from a virtual host's name.
const LONGEST_NAME: usize = 150;

/// Writes the changes.
pub(crate) struct Writer {
    queue: Arc<DiskQueue>,
    files: Files,
    folder: PathBuf,
}

impl Writer {
    /// Restores a virtual host, and writes its changes from now on. `tell` gets the reports, on a
    /// thread that ends some time after the disk is dropped.
    ///
    /// # Errors
    /// When anything cannot be read.
    pub(crate) fn restore(
        folder: &Arc<Folder>,
        vhost: &mut Vhost,
    ) -> Result<(Disk, Writer, Restored), DataError> {
        let path = &folder.path;
        let of_reading = |error| DataError::of_reading(path, error);
        let mut files = Files::open(folder, &file_name(vhost.name())).map_err(of_reading)?;
        let restored = files.restore(vhost).map_err(of_reading)?;
        folder.judge(vhost.name(), restored.unreadable)?;
        let (disk, queue) = Disk::new(folder.room.backlog, folder.room.batch);
        Ok((disk, Writer { queue, files, folder: path.clone() }, restored))
    }

    /// Starts the writing thread.
    pub(crate) fn start(self, tell: impl Fn(DiskReport) + Send + 'static) -> io::Result<()> {
        let Writer { queue, files, folder } = self;
        let builder = thread::Builder::new().name("amqp-broker disk".to_owned());
        builder
            .spawn(move || {
                if let Err(error) = write(&queue, files, &tell) {
                    let source = Arc::new(cause(&folder, error));
                    tell(DiskReport::Failed(Failure::Disk { path: folder, source }));
                }
                queue.closed.send_replace(true);
            })
            .map(drop)
    }
}

/// Where changes are written to.
pub(super) trait Written {
    /// Writes changes, as [`Files::write`] does.
    fn write(&mut self, changes: Changes) -> fjall::Result<()>;

    /// Waits, as [`Files::wait_for_flush`] does.
    fn wait_for_flush(&self);

    /// Ends, as [`Files::finish`] does.
    fn finish(&mut self, redelivered: &[Stored]) -> fjall::Result<()>;
}

impl Written for Files {
    fn write(&mut self, changes: Changes) -> fjall::Result<()> {
        Files::write(self, changes)
    }

    fn wait_for_flush(&self) {
        Files::wait_for_flush(self);
    }

    fn finish(&mut self, redelivered: &[Stored]) -> fjall::Result<()> {
        Files::finish(self, redelivered)
    }
}

/// Writes until the end. The files are closed when this returns.
pub(super) fn write(
    queue: &DiskQueue,
    mut files: impl Written,
    tell: &impl Fn(DiskReport),
) -> fjall::Result<()> {
    loop {
        let mut waiting = queue.waiting.lock();
        while waiting.is_paused || waiting.added.is_empty() && !waiting.ends {
            queue.more.wait(&mut waiting);
        }
        if waiting.added.is_empty() {
            let redelivered = waiting.redelivered.take();
            drop(waiting);
            return redelivered.map_or(Ok(()), |redelivered| files.finish(&redelivered));
        }
        let Added { changes, change } = waiting.take(queue.batch);
        let bytes = changes.weight();
        let fails = waiting.fails;
        drop(waiting);
        if fails {
            return Err(io::Error::other("a test ordered it").into());
        }
        files.write(changes)?;
        tell(DiskReport::Written { change, has_room: queue.is_written(bytes) });
        queue.written.send_replace(change);
        files.wait_for_flush();
    }
}

/// A virtual host's name as a part of a file name; different names give different parts.
fn file_name(vhost: &str) -> String {
    let octet = |octet: u8| match octet {
        b'a'..=b'z' | b'0'..=b'9' | b'-' => char::from(octet).to_string(),
        other => format!("_{other:02x}"),
    };
    let mut name: String = vhost.bytes().map(octet).collect();
    if name.len() > LONGEST_NAME {
        name.truncate(LONGEST_NAME);
        name = format!("{name}.{:016x}", fnv(vhost.as_bytes()));
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_gives_another_name_of_a_file() {
        assert_eq!(["/", "a/b", "A", "_2f", ""].map(file_name), ["_2f", "a_2fb", "_41", "_5f2f", ""]);
        let long = ["x".repeat(200), "x".repeat(201)].map(|name| file_name(&name));
        assert!(long[0] != long[1] && long[0].len() < 180);
    }
}
