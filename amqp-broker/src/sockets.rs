//! How many connections there may be, by the files that the process may have open: the store and
//! whoever accepts need some too.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::sync::Notify;

/// Files that are kept free for accepting, for listeners and for what the process opens for a
/// moment.
const RESERVE: usize = 8;

/// How many connections there are, of those that need an open file, and how many there may be.
#[derive(Debug)]
pub(crate) struct Sockets {
    most: usize,
    open: AtomicUsize,
    freed: Notify,
}

/// A connection that needs an open file.
///
/// # On drop
/// Another may come.
#[derive(Debug)]
pub(crate) struct Socket {
    sockets: Arc<Sockets>,
}

impl Sockets {
    /// As many as there may be besides the files that are open now, and those that the store may
    /// open.
    pub(crate) fn beside(of_store: usize) -> Arc<Self> {
        Arc::new(Self::new(most(file_limit(), open_files(), of_store)))
    }

    fn new(most: usize) -> Self {
        Sockets { most, open: AtomicUsize::new(0), freed: Notify::new() }
    }

    /// How many there may be, where there may be no more now.
    pub(crate) fn is_full(&self) -> Option<usize> {
        (self.open.load(Ordering::Acquire) >= self.most).then_some(self.most)
    }

    /// Waits until there may be one more.
    pub(crate) async fn room(&self) {
        while self.is_full().is_some() {
            let freed = self.freed.notified();
            // It may have been freed before we listened.
            if self.is_full().is_none() {
                return;
            }
            freed.await;
        }
    }

    /// One more has come. Two that listen may let in one too many each, for which there is the
    /// reserve.
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

/// How many files the process may have open, where that is known.
#[cfg(feature = "durable")]
pub(crate) fn file_limit() -> Option<usize> {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.current.and_then(|limit| usize::try_from(limit).ok())
}

/// Without a store nobody is harmed.
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
