//! The thread that syncs the mark of progress and watches free space, in parallel to the writing
//! thread.

use std::{
    fs::File,
    io,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::sync::{
    Condvar, Mutex,
    atomic::{AtomicBool, Ordering},
    thread,
};

/// The pauses between two checks of free space. As in RabbitMQ, they are shorter when space may run
/// out sooner.
const OFTEN: Duration = Duration::from_millis(100);
const SELDOM: Duration = Duration::from_secs(10);
const FASTEST_DISK: u64 = 250_000;

/// A report of the watch.
#[derive(Debug)]
pub(crate) enum WatchReport {
    /// Free space has fallen below the limit, or has recovered.
    Low(bool),
    /// The mark cannot be synced. What the system had to write is gone, and a later sync would say
    /// nothing about it, so there is none.
    Failed(io::Error),
}

/// The thread that keeps the mark and watches the disk, beside the thread that writes.
pub(crate) struct Watch {
    /// The file with the mark.
    mark: File,
    /// The least time between two syncs of it, because they compete with those of the journal.
    pause: Duration,
    has_changed: AtomicBool,
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Default)]
struct State {
    has_changed: bool,
    ends: bool,
}

impl Watch {
    pub(crate) fn new(mark: File, pause: Duration) -> Self {
        Watch {
            mark,
            pause,
            has_changed: AtomicBool::new(false),
            state: Mutex::default(),
            wake: Condvar::new(),
        }
    }

    /// Notes that the mark has changed.
    pub(crate) fn changed(&self) {
        if !self.has_changed.swap(true, Ordering::AcqRel) {
            self.state.lock().has_changed = true;
            self.wake.notify_one();
        }
    }

    /// Ends the watching.
    pub(crate) fn end(&self) {
        self.state.lock().ends = true;
        self.wake.notify_one();
    }

    /// Starts the thread; `tell` is called whenever free space falls below `limit` bytes or
    /// recovers, and when the mark cannot be synced, which ends the thread.
    pub(crate) fn start(
        self: &Arc<Self>,
        folder: &Path,
        limit: u64,
        tell: impl Fn(WatchReport) + Send + 'static,
    ) -> io::Result<()> {
        let (watch, folder) = (Arc::clone(self), folder.to_owned());
        let builder = thread::Builder::new().name("amqp-broker watch".to_owned());
        builder.spawn(move || watch.run(&folder, limit, &tell)).map(drop)
    }

    pub(super) fn run(&self, folder: &Path, limit: u64, tell: &impl Fn(WatchReport)) {
        let mut is_low = false;
        let (mut look_at, mut sync_at) = (Instant::now(), Instant::now());
        while self.wait(look_at, sync_at) {
            if self.is_to_be_synced(sync_at) {
                if let Err(error) = self.sync() {
                    return tell(WatchReport::Failed(error));
                }
                sync_at = Instant::now() + self.pause;
            }
            if Instant::now() >= look_at {
                let free = free(folder).unwrap_or(u64::MAX);
                if is_low != (free < limit) {
                    is_low = !is_low;
                    say(folder, free, limit);
                    tell(WatchReport::Low(is_low));
                }
                look_at = Instant::now() + look_again(free, limit);
            }
        }
    }

    /// Waits until it is time to check free space or to sync a change; returns whether to go on.
    fn wait(&self, look_at: Instant, sync_at: Instant) -> bool {
        let mut state = self.state.lock();
        while !state.ends {
            let until = if state.has_changed { look_at.min(sync_at) } else { look_at };
            if Instant::now() >= until {
                break;
            }
            self.wake.wait_until(&mut state, until);
        }
        !state.ends
    }

    /// Tells whether there is a change and it is time to sync it, and counts it as synced then.
    fn is_to_be_synced(&self, sync_at: Instant) -> bool {
        let mut state = self.state.lock();
        Instant::now() >= sync_at && std::mem::take(&mut state.has_changed)
    }

    fn sync(&self) -> io::Result<()> {
        // A later change is synced next time.
        self.has_changed.store(false, Ordering::Release);
        self.mark.sync_data()
    }
}

fn say(folder: &Path, free: u64, limit: u64) {
    let folder = folder.display();
    if free < limit {
        tracing::warn!(
            "{free} bytes are free where {folder} is, less than {limit}: publishers are held back"
        );
    } else {
        tracing::info!("{free} bytes are free where {folder} is: publishers continue");
    }
}

/// The free space that is available to us, in bytes.
fn free(folder: &Path) -> io::Result<u64> {
    let of = rustix::fs::statvfs(folder)?;
    Ok(of.f_bavail.saturating_mul(of.f_frsize))
}

fn look_again(free: u64, limit: u64) -> Duration {
    Duration::from_millis(free.abs_diff(limit) / FASTEST_DISK * 2).clamp(OFTEN, SELDOM)
}

#[cfg(all(test, shuttle))]
impl Watch {
    /// Tells whether the last change is synced.
    pub(super) fn is_synced(&self) -> bool {
        !self.has_changed.load(Ordering::Acquire) && !self.state.lock().has_changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn a_mark_that_cannot_be_synced_is_told_and_not_tried_again() {
        // There is nothing that could be synced in this file.
        let watch = Arc::new(Watch::new(File::open("/dev/null").unwrap(), Duration::ZERO));
        let (told, tells) = std::sync::mpsc::channel();
        watch.start(Path::new("/"), 0, move |report| told.send(report).unwrap()).unwrap();
        watch.changed();
        let WatchReport::Failed(error) = tells.recv().unwrap() else { panic!("free space") };
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        watch.changed();
        assert!(tells.recv().is_err(), "the thread has ended");
    }

    #[test]
    fn free_space_is_looked_at_the_more_often_the_nearer_it_is() {
        const LIMIT: u64 = 50_000_000;
        assert_eq!(look_again(LIMIT, LIMIT), OFTEN);
        assert_eq!(look_again(LIMIT + 500_000_000, LIMIT), Duration::from_secs(4));
        assert_eq!(look_again(u64::MAX, LIMIT), SELDOM);
        assert!(free(Path::new("/")).unwrap() > 0);
    }
}
