//! The resources that a process holds, to see whether they stay the same.

use std::{fmt, fs, io, process};

use tokio::runtime::Handle;

use crate::usage::Usage;

const MIB: f64 = 1024.0 * 1024.0;

/// The resources that this process holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Footprint {
    /// Its resident memory, in bytes.
    pub resident: u64,
    /// Its open file descriptors.
    pub descriptors: usize,
    /// Its threads.
    pub threads: usize,
    /// The tasks of its runtime that have not ended.
    pub tasks: usize,
}

impl Footprint {
    /// Returns the resources that this process holds now. It is called in a runtime.
    ///
    /// # Errors
    /// When there is no `/proc`.
    pub fn now() -> io::Result<Self> {
        Ok(Footprint {
            resident: Usage::of(process::id())?.resident,
            // One of them is the folder that is being read.
            descriptors: fs::read_dir("/proc/self/fd")?.count().saturating_sub(1),
            threads: fs::read_dir("/proc/self/task")?.count(),
            tasks: Handle::current().metrics().num_alive_tasks(),
        })
    }
}

impl fmt::Display for Footprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Footprint { resident, descriptors, threads, tasks } = self;
        let mebibytes = *resident as f64 / MIB;
        write!(f, "{mebibytes:.1} MiB, {descriptors} descriptors, {threads} threads, {tasks} tasks")
    }
}

#[cfg(test)]
mod tests {
    use std::{fs::File, future::pending};

    use super::*;

    #[tokio::test]
    async fn files_and_tasks_are_counted() {
        let before = Footprint::now().unwrap();
        let files: Vec<_> = (0..50).map(|_| File::open("/proc/self/stat").unwrap()).collect();
        let tasks: Vec<_> = (0..7).map(|_| tokio::spawn(pending::<()>())).collect();
        let with = Footprint::now().unwrap();
        assert_eq!(with.tasks, before.tasks + 7);
        // Other tests of this process open and close some, too.
        assert!(with.descriptors > before.descriptors + 20, "{before} {with}");
        drop(files);
        tasks.iter().for_each(tokio::task::JoinHandle::abort);
    }
}
