//! The resources that the process uses, where the system tells.

/// The resources that the process uses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProcessState {
    pub(crate) open_files: usize,
    /// The limit of open files.
    pub(crate) most_files: Option<u64>,
    pub(crate) processors: usize,
    /// The bytes of memory that it uses.
    pub(crate) memory: Option<u64>,
    /// The bytes that are free on the disk where it works.
    pub(crate) disk_free: Option<u64>,
}

/// The number of resources whose changes are sampled.
pub(crate) const PROCESS_VALUES: usize = 3;

impl ProcessState {
    /// The resources whose changes are sampled: open files, memory, and what is free on the disk.
    pub(crate) fn values(&self) -> [u64; PROCESS_VALUES] {
        [self.open_files as u64, self.memory.unwrap_or_default(), self.disk_free.unwrap_or_default()]
    }

    pub(crate) fn now() -> Self {
        let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
        let files = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
        ProcessState {
            open_files: std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count),
            most_files: files.and_then(|line| line.split_whitespace().next()?.parse().ok()),
            memory: memory(),
            disk_free: disk_free(),
            processors: std::thread::available_parallelism().map_or(1, Into::into),
        }
    }
}

fn disk_free() -> Option<u64> {
    let of = rustix::fs::statvfs(".").ok()?;
    Some(of.f_bavail.saturating_mul(of.f_frsize))
}

fn memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
}
