//! What each connection of a virtual host holds of its memory: what it has sent in part, and what it has not read.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use tokio::sync::mpsc::UnboundedSender;

use crate::core::ids::ConnectionId;

use super::order::Order;

/// How far a connection gets: it changes whenever something of it is read or written.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress(Arc<AtomicU64>);

impl Progress {
    /// Something has been read or written.
    #[inline]
    pub(crate) fn made(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn so_far(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What a connection holds.
#[derive(Debug)]
struct Holding {
    /// Bytes that it has sent and that are no messages yet.
    received: u64,
    /// Bytes that wait to be read by it.
    unread: u64,
    /// Bytes of memory that are there for more of either.
    read_buffer: u64,
    write_buffer: u64,
    progress: Progress,
    /// Since when it has had too much without getting anywhere, and how far it was.
    stalled: Option<(u64, u64)>,
    orders: Option<UnboundedSender<Order>>,
}

impl Holding {
    /// What is its own doing.
    fn held(&self) -> u64 {
        self.received + self.unread
    }

    fn weight(&self) -> u64 {
        self.held() + self.read_buffer + self.write_buffer
    }
}

/// What all connections hold.
#[derive(Debug, Default)]
pub(crate) struct Holdings {
    /// By the place of the connection's id.
    slots: Vec<Option<Holding>>,
    total: u64,
    connections: u64,
}

impl Holdings {
    /// A connection has come; how to close it.
    pub(crate) fn open(&mut self, id: ConnectionId, orders: Option<UnboundedSender<Order>>) -> Progress {
        if self.slots.len() <= id.index() {
            self.slots.resize_with(id.index() + 1, || None);
        }
        let progress = Progress::default();
        if let Some(slot) = self.slots.get_mut(id.index()) {
            let progress = progress.clone();
            *slot = Some(Holding {
                received: 0,
                unread: 0,
                read_buffer: 0,
                write_buffer: 0,
                progress,
                stalled: None,
                orders,
            });
            self.connections += 1;
        }
        progress
    }

    /// It has gone.
    pub(crate) fn close(&mut self, id: ConnectionId) {
        if let Some(holding) = self.slots.get_mut(id.index()).and_then(Option::take) {
            self.total -= holding.weight();
            self.connections -= 1;
        }
    }

    /// It has sent so many bytes that are no messages yet, and so much memory is there for more.
    pub(crate) fn received(&mut self, id: ConnectionId, bytes: u64, buffer: u64) {
        self.change(id, |holding| {
            holding.received = bytes;
            holding.read_buffer = buffer;
        });
    }

    /// So many bytes wait to be read by it, and so much memory is there for more.
    pub(crate) fn unread(&mut self, id: ConnectionId, bytes: u64, buffer: u64) {
        self.change(id, |holding| {
            holding.unread = bytes;
            holding.write_buffer = buffer;
        });
    }

    #[inline]
    fn change(&mut self, id: ConnectionId, change: impl FnOnce(&mut Holding)) {
        if let Some(holding) = self.slots.get_mut(id.index()).and_then(Option::as_mut) {
            let before = holding.weight();
            change(holding);
            self.total = self.total - before + holding.weight();
        }
    }

    /// What all hold.
    #[inline]
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    pub(crate) fn connections(&self) -> u64 {
        self.connections
    }

    /// What one holds.
    pub(crate) fn held(&self, id: ConnectionId) -> u64 {
        self.slots.get(id.index()).and_then(Option::as_ref).map_or(0, Holding::held)
    }

    /// Nobody has too much any more.
    pub(crate) fn forget_stalled(&mut self) {
        self.slots.iter_mut().flatten().for_each(|holding| holding.stalled = None);
    }

    /// Closes, with this order, who has more than its share and has not got anywhere for so long; tells how many those are.
    pub(crate) fn close_stalled(&mut self, now: u64, share: u64, timeout: u64, order: &Order) -> usize {
        let mut count = 0;
        for holding in self.slots.iter_mut().flatten() {
            let so_far = holding.progress.so_far();
            let (since, seen) = match holding.stalled {
                Some(stalled) if holding.held() > share && stalled.1 == so_far => stalled,
                _ => {
                    holding.stalled = (holding.held() > share).then_some((now, so_far));
                    continue;
                }
            };
            if now.saturating_sub(since) >= timeout
                && let Some(orders) = holding.orders.take()
            {
                // One that has just ended has nothing to close.
                let _ = orders.send(order.clone());
                count += 1;
            }
            holding.stalled = Some((since, seen));
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::{access::Access, vhost::Vhost};

    #[test]
    fn who_has_too_much_and_gets_nowhere_is_closed_and_nobody_else() {
        let mut vhost = Vhost::new("/", Default::default());
        let access = || Access { user: "guest".to_owned(), permissions: None };
        let [stuck, slow, small] = std::array::from_fn(|_| vhost.connect(access(), true));
        let mut holdings = Holdings::default();
        let (sender, mut orders) = tokio::sync::mpsc::unbounded_channel();
        let progress = [stuck, slow, small].map(|id| holdings.open(id, Some(sender.clone())));
        holdings.received(stuck, 100, 0);
        holdings.unread(slow, 100, 0);
        holdings.unread(small, 10, 500);
        assert_eq!(holdings.total(), 710);
        assert_eq!(holdings.close_stalled(0, 50, 30, &Order::Drop), 0);
        progress[1].made();
        assert_eq!(holdings.close_stalled(29, 50, 30, &Order::Drop), 0);
        assert_eq!(holdings.close_stalled(30, 50, 30, &Order::Drop), 1);
        assert!(orders.try_recv().is_ok() && orders.try_recv().is_err());
        holdings.close(stuck);
        assert_eq!((holdings.total(), holdings.connections()), (610, 2));
    }
}
