//! Limits connections by the open files of the process, because the store and the accepting of
//! connections need some too.

#[cfg(feature = "management")]
pub(crate) mod listening;

use std::sync::Arc;

use tokio::sync::Notify;

use crate::sync::atomic::{AtomicUsize, Ordering};

/// How many files are kept free for accepting, for listeners and for temporary files.
const RESERVE: usize = 8;

/// The number of connections that take an open file, and its limit.
#[derive(Debug)]
pub(crate) struct Sockets {
    most: usize,
    open: AtomicUsize,
    freed: Notify,
}

/// A connection that takes an open file.
///
/// # On drop
/// Another may be accepted.
#[derive(Debug)]
pub(crate) struct Socket {
    sockets: Arc<Sockets>,
}

impl Sockets {
    /// Takes the limit of the process, less the files that are open now and those that the store
    /// may open.
    pub(crate) fn beside(of_store: usize) -> Arc<Self> {
        Arc::new(Self::new(most(file_limit(), open_files(), of_store)))
    }

    fn new(most: usize) -> Self {
        Sockets { most, open: AtomicUsize::new(0), freed: Notify::new() }
    }

    /// The limit, if it is reached.
    pub(crate) fn is_full(&self) -> Option<usize> {
        (self.open.load(Ordering::Acquire) >= self.most).then_some(self.most)
    }

    /// Waits until there is room for a connection.
    pub(crate) async fn room(&self) {
        while self.is_full().is_some() {
            let freed = self.freed.notified();
            // Room may have come before this task listened for it.
            if self.is_full().is_none() {
                return;
            }
            freed.await;
        }
    }

    /// Counts a connection. Concurrent listeners may each exceed the limit by one, which the
    /// reserve allows for.
    pub(crate) fn enter(sockets: &Arc<Self>) -> Socket {
        sockets.open.fetch_add(1, Ordering::AcqRel);
        Socket { sockets: Arc::clone(sockets) }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.sockets.open.fetch_sub(1, Ordering::AcqRel);
        self.sockets.freed.notify_waiters();
    }
}

fn most(limit: Option<usize>, open: usize, of_store: usize) -> usize {
    limit.map_or(usize::MAX, |limit| limit.saturating_sub(open + of_store + RESERVE).max(1))
}

/// The limit of open files of the process, where it is known.
#[cfg(feature = "durable")]
pub(crate) fn file_limit() -> Option<usize> {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.current.and_then(|limit| usize::try_from(limit).ok())
}

/// There is no limit without a store: only the store would suffer.
#[cfg(not(feature = "durable"))]
fn file_limit() -> Option<usize> {
    None
}

/// How many files the process has open, where the system tells.
fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_open_and_what_the_store_needs_is_not_for_connections() {
        assert_eq!(most(Some(1024), 20, 200), 1024 - 20 - 200 - RESERVE);
        assert_eq!((most(Some(64), 60, 100), most(None, 60, 100)), (1, usize::MAX));
    }

    #[tokio::test]
    async fn the_next_waits_until_one_has_gone() {
        let sockets = Arc::new(Sockets::new(2));
        let (one, _two) = (Sockets::enter(&sockets), Sockets::enter(&sockets));
        assert_eq!(sockets.is_full(), Some(2));
        let mut room = Box::pin(sockets.room());
        assert!(futures_poll(&mut room).await.is_none());
        drop(one);
        room.await;
        assert_eq!(sockets.is_full(), None);
    }

    /// Polls once.
    async fn futures_poll<F: Future<Output = ()> + Unpin>(future: &mut F) -> Option<()> {
        tokio::select! {
            biased;
            () = future => Some(()),
            () = std::future::ready(()) => None,
        }
    }
}
