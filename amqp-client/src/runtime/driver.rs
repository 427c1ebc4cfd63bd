//! The driver: the only owner of a socket, a clock and a task. It moves bytes between the transport
//! and the engine.

use std::{
    future::{Future, poll_fn},
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::Sleep,
};
use tokio_util::io::poll_read_buf;

use crate::{
    error::Error,
    proto::{connection::Engine, ground::output::Output},
    runtime::{
        read_buffer::ReadBuffer,
        shared::{Shared, now},
    },
};

/// The number of slices in one vectored write.
const SLICES: usize = 64;

/// The number of reads after a failed write, which look for the reason.
const LAST_READS: usize = 64;

/// After this time without a byte in either direction, an idle connection frees memory.
const QUIET: Duration = Duration::from_secs(1);

/// How long a transport may take to shut down.
const SHUTDOWN_PATIENCE: Duration = Duration::from_secs(1);

pub(crate) struct Driver<T> {
    shared: Arc<Shared>,
    transport: T,
    /// The batch being written, of which `written` bytes have been.
    batch: Output,
    written: usize,
    /// Whether the transport took bytes that it may hold back until it is flushed, as TLS does.
    is_unflushed: bool,
    read_buffer: ReadBuffer,
    /// When bytes last went in either direction.
    active_at: Instant,
    /// When to check whether the connection has become idle.
    quiet_at: Option<Instant>,
    /// When to stop even if something remains to be written.
    leave_at: Option<Instant>,
    timer: Pin<Box<Sleep>>,
    timer_at: Option<Instant>,
    wakes: Vec<Waker>,
}

impl<T: AsyncRead + AsyncWrite + Unpin> Driver<T> {
    pub(crate) fn new(shared: Arc<Shared>, transport: T) -> Self {
        Driver {
            shared,
            transport,
            batch: Output::default(),
            written: 0,
            is_unflushed: false,
            read_buffer: ReadBuffer::new(),
            active_at: now(),
            quiet_at: None,
            leave_at: None,
            timer: Box::pin(tokio::time::sleep(Duration::ZERO)),
            timer_at: None,
            wakes: Vec::new(),
        }
    }

    /// Runs until the transport cannot be used any more and the last bytes are written.
    pub(crate) async fn run(mut self) {
        poll_fn(|cx| self.poll(cx)).await;
        // The peer may be gone already, so errors do not matter, and the wait is short.
        let shutdown = poll_fn(|cx| Pin::new(&mut self.transport).poll_shutdown(cx));
        let _ = tokio::time::timeout(SHUTDOWN_PATIENCE, shutdown).await;
    }

    /// Makes progress like [`run`](Self::run), for callers that drive it step by step.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let now = now();
            let is_writing = self.poll_write(cx, now).is_pending();
            // One lock for all that the engine wants, because publishers contend for it.
            let wanted = self.shared.drive(&mut self.wakes, |engine| engine.wanted(now));
            if wanted.has_ended && (!is_writing || self.has_waited_long(now)) {
                return Poll::Ready(());
            }
            let has_read = wanted.reading && self.poll_read(cx, now).is_ready();
            let is_due = self.poll_timer(cx, now, wanted.deadline);
            if has_read || is_due {
                continue;
            }
            let waker = cx.waker();
            let roused = self.shared.drive(&mut self.wakes, |engine| {
                engine.sleep(waker, is_writing);
                // After the end the engine wakes nobody: only writing remains, for which the
                // transport or the timer wakes the driver.
                (engine.rouse().is_some() || engine.deadline() != wanted.deadline) && !wanted.has_ended
            });
            if !roused {
                return Poll::Pending;
            }
        }
    }

    /// Tells whether the last bytes after the end, such as the answer to a close, have been waited
    /// for long enough: the peer may not read any more.
    fn has_waited_long(&mut self, now: Instant) -> bool {
        now >= *self.leave_at.get_or_insert(now + SHUTDOWN_PATIENCE)
    }

    /// Writes one batch. Pending while the transport takes no more.
    fn poll_write(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<()> {
        if self.is_unflushed {
            ready!(self.poll_flush(cx, now));
        }
        if self.written == self.batch.len() {
            self.batch.clear();
            self.written = 0;
            let batch = &mut self.batch;
            if !self.shared.drive(&mut self.wakes, |engine| engine.take_output(now, batch)) {
                return Poll::Ready(());
            }
            self.is_unflushed = true;
            self.is_active(now);
        }
        while self.written < self.batch.len() {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let filled = self.batch.slices(self.written, &mut slices);
            let slices = slices.get(..filled).unwrap_or_default();
            let result = match ready!(Pin::new(&mut self.transport).poll_write_vectored(cx, slices)) {
                Ok(0) => Err(io::ErrorKind::WriteZero.into()),
                other => other,
            };
            match result {
                Ok(count) => self.written += count,
                Err(error) => {
                    self.write_failed(cx, now, error);
                    return Poll::Ready(());
                }
            }
        }
        self.poll_flush(cx, now)
    }

    /// Flushes the transport. A bare socket needs no flush; TLS may still hold bytes.
    fn poll_flush(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<()> {
        let result = ready!(Pin::new(&mut self.transport).poll_flush(cx));
        self.is_unflushed = false;
        if let Err(error) = result {
            self.write_failed(cx, now, error);
        }
        Poll::Ready(())
    }

    /// Handles a failed write. The broker is gone, but may have sent the reason, a close or an
    /// alert of TLS, which is read first.
    #[cold]
    fn write_failed(&mut self, cx: &mut Context<'_>, now: Instant, error: io::Error) {
        for _ in 0..LAST_READS {
            let wanted = self.shared.drive(&mut self.wakes, |engine| engine.wanted(now));
            if !wanted.reading || self.poll_read(cx, now).is_pending() {
                break;
            }
        }
        self.lost(Some(error));
    }

    /// Reads once and passes the input to the engine. Pending while there is nothing to read.
    fn poll_read(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<()> {
        let room = self.read_buffer.with_room();
        match ready!(poll_read_buf(Pin::new(&mut self.transport), cx, room)) {
            Ok(0) => self.lost(None),
            Ok(count) => {
                self.read_buffer.adapt(count);
                self.is_active(now);
                let buffer = self.read_buffer.unread();
                self.shared.drive(&mut self.wakes, |engine| engine.handle_input(now, buffer));
            }
            Err(error) => self.lost(Some(error)),
        }
        Poll::Ready(())
    }

    /// Arms the timer for the engine's `deadline` or the driver's own, whichever is first; returns
    /// whether it was due.
    fn poll_timer(&mut self, cx: &mut Context<'_>, now: Instant, deadline: Option<Instant>) -> bool {
        let deadline = [deadline, self.quiet_at, self.leave_at].into_iter().flatten().min();
        if deadline != self.timer_at {
            self.timer_at = deadline;
            if let Some(deadline) = deadline {
                self.timer.as_mut().reset(deadline.into());
            }
        }
        if deadline.is_none() || self.timer.as_mut().poll(cx).is_pending() {
            return false;
        }
        self.timer_at = None;
        if self.quiet_at.is_some_and(|at| now >= at) {
            self.look_for_quiet(now);
        }
        self.shared.drive(&mut self.wakes, |engine| engine.handle_timeout(now));
        true
    }

    /// Notes that bytes went in one of the directions.
    fn is_active(&mut self, now: Instant) {
        self.active_at = now;
        // A timer that is set stays: setting it anew for each read and write costs more than one
        // check too many.
        self.quiet_at.get_or_insert(now + QUIET);
    }

    /// Frees memory that a burst needed, if the connection is idle.
    fn look_for_quiet(&mut self, now: Instant) {
        let quiet_at = self.active_at + QUIET;
        self.quiet_at = Some(quiet_at).filter(|at| now < *at);
        if self.quiet_at.is_some() {
            return;
        }
        self.read_buffer.release();
        if self.written == self.batch.len() {
            self.batch.clear();
            self.written = 0;
            self.batch.release();
        }
        self.shared.drive(&mut self.wakes, Engine::release);
    }

    fn lost(&mut self, error: Option<io::Error>) {
        // TLS reports a peer that hangs up without a TLS close in this way; AMQP has a close of its
        // own.
        let error = error.filter(|error| error.kind() != io::ErrorKind::UnexpectedEof);
        let error = error.map(|error| Error::ConnectionLost(Arc::new(error)));
        self.batch.clear();
        self.written = 0;
        self.is_unflushed = false;
        self.shared.drive(&mut self.wakes, |engine| engine.handle_lost(error));
    }
}

/// Reports the loss even if the runtime is shut down, so that nobody waits for ever.
impl<T> Drop for Driver<T> {
    fn drop(&mut self) {
        let gone = io::Error::other("the runtime that drives the connection has shut down");
        let error = Error::ConnectionLost(Arc::new(gone));
        self.shared.drive(&mut self.wakes, |engine| engine.handle_lost(Some(error)));
    }
}
