//! The memory that each connection of a virtual host holds: incomplete content that it sent, and
//! output that it has not read.

use std::sync::Arc;

use tokio::sync::mpsc::UnboundedSender;

use crate::core::entities::ids::ConnectionId;
use crate::sync::atomic::{AtomicU64, Ordering};

use super::command::Command;

/// The pause between two checks for stalled connections, in milliseconds, unless the timeout is
/// short.
const LOOK_EVERY: u64 = 500;

/// A connection that holds too much must move at least this fraction of it (1/16) within the
/// timeout.
const LEAST_PART: u64 = 16;

/// How many octets a connection has moved since it began.
#[derive(Clone, Debug, Default)]
pub(crate) struct Traffic(Arc<Moved>);

#[derive(Debug, Default)]
struct Moved {
    read: AtomicU64,
    written: AtomicU64,
    /// The numbers of operations that moved them.
    reads: AtomicU64,
    writes: AtomicU64,
}

/// The octets that a connection has moved, in and out, and the operations that moved them.
#[cfg(feature = "management")]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TrafficCounts {
    pub(crate) octets: [u64; 2],
    pub(crate) operations: [u64; 2],
}

impl Traffic {
    /// Counts octets that were read from it.
    #[inline]
    pub(crate) fn read(&self, octets: usize) {
        self.0.read.fetch_add(octets as u64, Ordering::Relaxed);
        self.0.reads.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts octets that were written to it.
    #[inline]
    pub(crate) fn written(&self, octets: usize) {
        self.0.written.fetch_add(octets as u64, Ordering::Relaxed);
        self.0.writes.fetch_add(1, Ordering::Relaxed);
    }

    fn so_far(&self) -> [u64; 2] {
        [&self.0.read, &self.0.written].map(|octets| octets.load(Ordering::Relaxed))
    }
}

/// The terms on which a connection may hold more than its share.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// How many bytes each connection may hold.
    pub(crate) share: u64,
    /// How long it may take to move the least fraction of what it holds, in milliseconds.
    pub(crate) timeout: u64,
}

impl Patience {
    /// The pause between two checks, in milliseconds.
    pub(crate) fn look_every(&self) -> u64 {
        LOOK_EVERY.min(self.timeout / 2 + 1)
    }
}

/// A period in which memory is short and a connection holds more than its share.
#[derive(Clone, Copy, Debug)]
struct Stall {
    /// The octets that had been moved when it began.
    from: [u64; 2],
    /// Its length so far, in milliseconds.
    lasts: u64,
}

/// The memory that a connection holds.
#[derive(Debug)]
struct Holding {
    /// How many bytes it has sent that are not published yet.
    received: u64,
    /// How many bytes it has not read yet.
    unread: u64,
    /// How many bytes are allocated for more of either.
    read_buffer: u64,
    write_buffer: u64,
    progress: Traffic,
    stall: Option<Stall>,
    commands: Option<UnboundedSender<Command>>,
}

impl Holding {
    /// How many bytes the client is responsible for.
    fn held(&self) -> u64 {
        self.received + self.unread
    }

    fn weight(&self) -> u64 {
        self.held() + self.read_buffer + self.write_buffer
    }

    /// Tells whether the connection has moved enough since then. Only what is read from it reduces
    /// incomplete content, and only what is written to it reduces unread output.
    fn has_moved(&self, from: [u64; 2], share: u64) -> bool {
        let [read, written] = self.progress.so_far();
        let moved = if self.received > share { read - from[0] } else { written - from[1] };
        moved.saturating_mul(LEAST_PART) >= self.held()
    }

    /// Checks the connection after `passed` milliseconds; tells whether it holds too much and is
    /// stalled.
    fn is_stalled(&mut self, passed: u64, patience: Patience) -> bool {
        if self.held() <= patience.share {
            self.stall = None;
            return false;
        }
        let lasts = match self.stall {
            Some(stall) if !self.has_moved(stall.from, patience.share) => {
                let lasts = stall.lasts + passed;
                self.stall = Some(Stall { lasts, ..stall });
                lasts
            }
            _ => {
                self.stall = Some(Stall { from: self.progress.so_far(), lasts: 0 });
                0
            }
        };
        lasts >= patience.timeout
    }
}

/// The memory that all connections hold.
#[derive(Debug, Default)]
pub(crate) struct Holdings {
    /// The entries, by the slot of the connection's id.
    slots: Vec<Option<Holding>>,
    total: u64,
    connections: u64,
    /// When it was last checked for stalled connections.
    looked: u64,
}

impl Holdings {
    /// Adds a connection, with the sender of commands that can close it.
    pub(crate) fn open(&mut self, id: ConnectionId, commands: Option<UnboundedSender<Command>>) -> Traffic {
        if self.slots.len() <= id.index() {
            self.slots.resize_with(id.index() + 1, || None);
        }
        let progress = Traffic::default();
        if let Some(slot) = self.slots.get_mut(id.index()) {
            let progress = progress.clone();
            *slot = Some(Holding {
                received: 0,
                unread: 0,
                read_buffer: 0,
                write_buffer: 0,
                progress,
                stall: None,
                commands,
            });
            self.connections += 1;
        }
        progress
    }

    /// Removes a connection.
    pub(crate) fn close(&mut self, id: ConnectionId) {
        if let Some(holding) = self.slots.get_mut(id.index()).and_then(Option::take) {
            self.total -= holding.weight();
            self.connections -= 1;
        }
    }

    /// The octets that were read from a connection and written to it.
    #[cfg(feature = "management")]
    pub(crate) fn traffic(&self, id: ConnectionId) -> Option<TrafficCounts> {
        let moved = &self.slots.get(id.index())?.as_ref()?.progress;
        let operations = [&moved.0.reads, &moved.0.writes].map(|count| count.load(Ordering::Relaxed));
        Some(TrafficCounts { octets: moved.so_far(), operations })
    }

    /// Sets how many bytes of incomplete content a connection has sent, and how many are allocated
    /// for more.
    pub(crate) fn received(&mut self, id: ConnectionId, bytes: u64, buffer: u64) {
        self.change(id, |holding| {
            holding.received = bytes;
            holding.read_buffer = buffer;
        });
    }

    /// Sets how many bytes a connection has not read, and how many are allocated for more.
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

    /// How many bytes all connections hold.
    #[inline]
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    pub(crate) fn connections(&self) -> u64 {
        self.connections
    }

    /// How many bytes one connection holds.
    pub(crate) fn held(&self, id: ConnectionId) -> u64 {
        self.slots.get(id.index()).and_then(Option::as_ref).map_or(0, Holding::held)
    }

    /// Checks for stalled connections while memory is short, and closes them with this command;
    /// returns how many.
    ///
    /// Periods without a shortage are not counted, but do not reset the count either: a connection
    /// that soon holds too much again has made no progress.
    pub(crate) fn close_stalled(&mut self, now: u64, patience: Patience, command: &Command) -> usize {
        let passed = now.saturating_sub(self.looked).min(patience.look_every());
        self.looked = now;
        let mut count = 0;
        for holding in self.slots.iter_mut().flatten() {
            if holding.is_stalled(passed, patience)
                && let Some(commands) = holding.commands.take()
            {
                // The command is lost if the connection has just ended.
                let _ = commands.send(command.clone());
                count += 1;
            }
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc::UnboundedReceiver;

    use super::*;
    use crate::core::{rabbitmq::access::Access, vhost::Vhost};

    const PATIENCE: Patience = Patience { share: 1_000, timeout: 30_000 };

    /// A connection among others, and the commands it receives.
    struct Looked {
        holdings: Holdings,
        id: ConnectionId,
        progress: Traffic,
        commands: UnboundedReceiver<Command>,
        now: u64,
    }

    impl Looked {
        fn begin() -> Self {
            let mut vhost = Vhost::new("/", Default::default());
            let id = vhost.connect("c".into(), Access::unlimited("guest"), true);
            let mut holdings = Holdings::default();
            let (sender, commands) = tokio::sync::mpsc::unbounded_channel();
            let progress = holdings.open(id, Some(sender));
            Looked { holdings, id, progress, commands, now: 0 }
        }

        /// Checks as often as is due in this time, after calling `meanwhile` each time; returns
        /// when the connection was closed.
        fn look(&mut self, milliseconds: u64, mut meanwhile: impl FnMut(&Traffic)) -> Option<u64> {
            let begin = self.now;
            while self.now < begin + milliseconds {
                meanwhile(&self.progress);
                self.holdings.close_stalled(self.now, PATIENCE, &Command::Drop);
                if self.commands.try_recv().is_ok() {
                    return Some(self.now - begin);
                }
                self.now += PATIENCE.look_every();
            }
            None
        }
    }

    #[test]
    fn who_has_too_much_and_gets_nowhere_is_closed_and_nobody_else() {
        for (held, closed) in [(1_001, Some(30_000)), (1_000, None)] {
            for is_received in [true, false] {
                let mut looked = Looked::begin();
                match is_received {
                    true => looked.holdings.received(looked.id, held, 500),
                    false => looked.holdings.unread(looked.id, held, 500),
                }
                assert_eq!(looked.holdings.total(), held + 500);
                assert_eq!(looked.look(300_000, |_| {}), closed, "{held}");
                looked.holdings.close(looked.id);
                assert_eq!((looked.holdings.total(), looked.holdings.connections()), (0, 0));
            }
        }
    }

    #[test]
    fn an_octet_now_and_then_is_no_progress_and_a_sixteenth_in_time_is() {
        // Each entry says how many of 100,000 octets move each half second.
        for (octets, is_closed) in [(1, true), (100, true), (105, false), (5_000, false)] {
            let mut looked = Looked::begin();
            looked.holdings.unread(looked.id, 100_000, 0);
            let closed = looked.look(300_000, |progress| progress.written(octets));
            assert_eq!(closed.is_some(), is_closed, "{octets}: {closed:?}");
        }
    }

    #[test]
    fn what_is_written_to_it_does_not_make_its_unfinished_content_less() {
        let mut looked = Looked::begin();
        looked.holdings.received(looked.id, 5_000, 0);
        assert_eq!(looked.look(300_000, |progress| progress.written(10_000)), Some(30_000));
        let mut looked = Looked::begin();
        looked.holdings.received(looked.id, 5_000, 0);
        assert_eq!(looked.look(300_000, |progress| progress.read(10)), None);
    }

    #[test]
    fn a_moment_without_need_is_no_progress_and_a_long_time_without_need_does_not_count() {
        let mut looked = Looked::begin();
        looked.holdings.unread(looked.id, 5_000, 0);
        assert_eq!(looked.look(20_000, |_| {}), None);
        looked.now += 3_600_000;
        assert_eq!(looked.look(9_000, |_| {}), None);
        assert!(looked.look(2_000, |_| {}).is_some());
    }
}
