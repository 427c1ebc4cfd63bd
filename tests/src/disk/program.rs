//! The program `amqp-broker` on a folder, under the recorder or alone.

use std::{
    env, fs,
    io::{self, Read},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::preload;

const SOURCE: &str = include_str!("recorder.c");
/// The time that the program may take to start or to end: others may use the machine.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOKED_AT: Duration = Duration::from_millis(2);

/// The virtual hosts of a load.
pub(super) const VHOSTS: [&str; 2] = ["/", "second"];

/// The program's file and the recorder's library.
#[derive(Clone, Debug)]
pub struct Tools {
    program: PathBuf,
    recorder: PathBuf,
}

/// All that the recorder does beside recording.
#[derive(Clone, Debug, Default)]
pub(super) struct Orders {
    /// The call that fails, and how.
    pub(super) fails: Option<String>,
    /// Set when only syncs are counted.
    pub(super) only_syncs: bool,
    /// Set when `fdatasync` does nothing.
    pub(super) swallows: bool,
}

impl Tools {
    /// Finds the program, which a build of the workspace makes, and builds the recorder.
    ///
    /// # Errors
    /// When one of them cannot be had.
    pub fn find() -> io::Result<Self> {
        let own = env::current_exe()?;
        let folders = own.ancestors().skip(1).take(2);
        let name = format!("amqp-broker{}", env::consts::EXE_SUFFIX);
        let program = folders.map(|folder| folder.join(&name)).find(|program| program.exists());
        let program = program
            .ok_or_else(|| io::Error::other("the program is not built (cargo build -p amqp-broker)"))?;
        let folder = own.parent().unwrap_or(Path::new("."));
        let recorder = preload::build(folder, "recorder", SOURCE)
            .filter(|_| cfg!(target_arch = "x86_64"))
            .ok_or_else(|| io::Error::other("the recorder needs Linux on x86_64 and a C compiler"))?;
        Ok(Tools { program, recorder })
    }

    /// Makes a command record what it does to a folder.
    pub(super) fn record(&self, command: &mut Command, folder: &Path, log: &Path, orders: &Orders) {
        command.env("AMQP_DISK_LOG", log).env("AMQP_DISK_FOLDER", folder).env("LD_PRELOAD", &self.recorder);
        if let Some(fails) = &orders.fails {
            command.env("AMQP_DISK_FAIL", fails);
        }
        for (name, is_set) in [("AMQP_DISK_SYNCS", orders.only_syncs), ("AMQP_DISK_SWALLOW", orders.swallows)]
        {
            if is_set {
                command.env(name, "yes");
            }
        }
    }

    /// The worker whose notifications are buffered in a folder.
    pub(super) fn spool_worker(&self, folder: &Path, count: u64) -> Command {
        let name = format!("spool-worker{}", env::consts::EXE_SUFFIX);
        let mut command = Command::new(self.program.with_file_name(name));
        command.arg(folder).arg(count.to_string()).env_remove("RUST_LOG").stdin(Stdio::null());
        command
    }

    /// Starts the program on a folder.
    pub(super) fn start(&self, folder: &Path, orders: Option<(&Path, &Orders)>) -> io::Result<Running> {
        let mut command = Command::new(&self.program);
        command.args(["--listen", "127.0.0.1:0", "--memory-limit", "64M", "--data"]).arg(folder);
        command.args(VHOSTS.iter().flat_map(|vhost| ["--vhost", vhost]));
        if let Some((log, orders)) = orders {
            self.record(&mut command, folder, log, orders);
        }
        let (out, err) = (tempfile::tempfile()?, tempfile::tempfile()?);
        command.env_remove("RUST_LOG").stdin(Stdio::null());
        command.stdout(out.try_clone()?).stderr(err.try_clone()?);
        Ok(Running { child: command.spawn()?, out, err, began: Instant::now() })
    }
}

/// The program as a process.
///
/// # On drop
/// It is killed.
pub(super) struct Running {
    child: Child,
    out: fs::File,
    err: fs::File,
    began: Instant,
}

impl Running {
    /// Waits until it listens; returns its port, or `None` when it has ended instead.
    ///
    /// # Errors
    /// When it does neither in time.
    pub(super) fn port(&mut self) -> io::Result<Option<u16>> {
        loop {
            let ended = self.child.try_wait()?.is_some();
            let said = text(&self.out)?;
            let line = said.lines().find_map(|line| line.strip_prefix("listening on 127.0.0.1:"));
            match line.filter(|_| said.ends_with('\n')) {
                Some(port) => return Ok(port.trim().parse().ok()),
                None if ended => return Ok(None),
                None => self.wait("neither listens nor ends")?,
            }
        }
    }

    /// Waits until it has ended.
    ///
    /// # Errors
    /// When it does not end in time.
    pub(super) fn ended(&mut self) -> io::Result<ExitStatus> {
        self.began = Instant::now();
        loop {
            match self.child.try_wait()? {
                Some(status) => return Ok(status),
                None => self.wait("does not end")?,
            }
        }
    }

    /// Asks it to end, and waits until it has.
    ///
    /// # Errors
    /// When it does not end in time.
    pub(super) fn terminate(&mut self) -> io::Result<ExitStatus> {
        let pid = rustix::process::Pid::from_child(&self.child);
        if self.child.try_wait()?.is_none() {
            rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        }
        self.ended()
    }

    pub(super) fn kill(&mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(drop)
    }

    /// Returns what it has written to its log.
    pub(super) fn log(&mut self) -> io::Result<String> {
        text(&self.err)
    }

    fn wait(&mut self, what: &str) -> io::Result<()> {
        if self.began.elapsed() > PATIENCE {
            let log = self.log()?;
            return Err(io::Error::new(io::ErrorKind::TimedOut, format!("the program {what}: {log}")));
        }
        thread::sleep(LOOKED_AT);
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It fails only if the process has ended already.
        let _ = self.kill();
    }
}

fn text(file: &fs::File) -> io::Result<String> {
    // Both share the offset at which the process writes: reading elsewhere does not move it.
    let mut octets = Vec::new();
    let mut reader = At { file, offset: 0 };
    reader.read_to_end(&mut octets)?;
    Ok(String::from_utf8_lossy(&octets).into_owned())
}

/// Reads a file without moving its offset.
struct At<'a> {
    file: &'a fs::File,
    offset: u64,
}

impl Read for At<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        use std::os::unix::fs::FileExt;
        let count = self.file.read_at(into, self.offset)?;
        self.offset += count as u64;
        Ok(count)
    }
}
