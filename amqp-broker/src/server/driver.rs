//! An open connection with its stream: reads large chunks, gives each to the session under one
//! lock, and writes what has gathered in the connection's outbox with one system call.

use std::{
    io::{self, IoSlice},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
};

use bytes::BytesMut;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite},
    time::{Instant, Sleep, sleep_until},
};

use super::{
    absence::Absence,
    clients::{Leaving, Login, Place},
    hang_up::HangUp,
    heartbeat::Heartbeat,
    host::Host,
    instance::Instance,
};
use crate::session::{
    command::Command,
    connection::{ConnectionSession, ConnectionTerms, Wants},
    handshake::{Agreed, open_ok},
    holdings::Progress,
    outbox::{Batch, Outbox},
};

/// The octets that are read at once: at first, and by a connection that is busy.
const READ_AT_FIRST: usize = 8 << 10;
const READ_AT_MOST: usize = 256 << 10;

/// The slices of one vectored write.
const SLICES: usize = 64;

/// A connection with its stream.
pub(crate) struct Driver<S> {
    pub(crate) stream: S,
    connection: ConnectionSession,
    input: BytesMut,
    read_size: usize,
    /// The octets that are being written.
    batch: Batch,
    wants: Wants,
    /// Set when nothing more is listened to until the connection closes.
    is_paused: bool,
    heard: bool,
    spoke: bool,
    /// Octets still to be written that are no traffic after which a heartbeat can be left out:
    /// heartbeats themselves, and the last words of the login, from which on they are counted.
    uncounted: usize,
    /// The client's place among the others, until it has left.
    place: Option<Place>,
    leaving: Option<Leaving>,
    /// Set when the virtual host has forgotten the connection.
    is_gone: bool,
    host: Arc<Host>,
    broker: Arc<Instance>,
    progress: Progress,
    /// The time from which on what has been taken to write may be written, where answers are
    /// delayed.
    held: Option<Pin<Box<Sleep>>>,
    /// Watches whether the client has gone, while nothing is read of it.
    absence: Option<Absence>,
}

impl<S> Drop for Driver<S> {
    fn drop(&mut self) {
        self.leave();
    }
}

impl<S> Driver<S> {
    /// Takes the connection out of its virtual host, with all that is its own.
    pub(crate) fn leave(&mut self) {
        if std::mem::replace(&mut self.is_gone, true) {
            return;
        }
        self.input = BytesMut::new();
        let id = self.connection.id;
        let connection = &mut self.connection;
        self.host.with(|now, shared| {
            let work = connection.take_work(shared);
            shared.outboxes.close(id);
            shared.holdings.close(id);
            shared.leave_behind(now, work);
            // Its place may be another's soon.
            shared.alarm.forget(id);
        });
    }

    /// Takes what has been read and not looked at.
    pub(crate) fn take_unseen(&mut self) -> BytesMut {
        std::mem::take(&mut self.input)
    }

    /// The octets that came with the last words of the login are in `input`.
    pub(crate) fn new(
        stream: S,
        input: BytesMut,
        (broker, host): (Arc<Instance>, Arc<Host>),
        agreed: Agreed,
        place: Place,
    ) -> Self {
        let frame_max = agreed.tune.frame_max as usize;
        let (user, vhost) = (agreed.access.user.clone(), agreed.vhost);
        let (id, progress, uncounted) = host.with(|_, shared| {
            let id = shared.vhost.connect(agreed.access, agreed.cancel_notify);
            shared.outboxes.open(id, Outbox::new(place.client.name.clone(), frame_max));
            let progress = shared.holdings.open(id, Some(place.client.commands()));
            shared.outboxes.send(id, 0, &open_ok());
            (id, progress, shared.outboxes.peek(id).map_or(0, |outbox| outbox.len()))
        });
        let client_name = agreed.client_name.as_deref().map(Arc::from);
        place.client.logged_in(Login { user, vhost, client_name: agreed.client_name, id });
        let terms = ConnectionTerms {
            channel_max: agreed.tune.channel_max,
            frame_max,
            max_message_size: broker.config.max_message_size,
            blocked_notify: agreed.blocked_notify,
            name: place.client.name.clone(),
            client_name,
        };
        Driver {
            stream,
            connection: ConnectionSession::new(id, terms),
            input,
            read_size: READ_AT_FIRST,
            batch: Batch::default(),
            // The octets that came with the handshake's last frame are looked at first.
            wants: Wants::Output,
            is_paused: false,
            heard: true,
            spoke: false,
            uncounted,
            place: Some(place),
            leaving: None,
            is_gone: false,
            host,
            broker,
            progress,
            held: None,
            absence: None,
        }
    }

    /// Says that we live if nothing else did; tells whether the client still does.
    pub(crate) fn beat(&mut self, heartbeat: &mut Heartbeat) -> bool {
        if !std::mem::take(&mut self.spoke) {
            self.say_alive();
        }
        // A client that is not read from cannot be heard.
        heartbeat.lives(
            std::mem::take(&mut self.heard)
                || matches!(
                    self.wants,
                    Wants::Turn | Wants::Room | Wants::Relief | Wants::Disk(_) | Wants::Commit
                ),
        )
    }

    /// Tells which end closed the connection with which words, if either did.
    pub(crate) fn why(&self) -> Option<&str> {
        self.connection.why()
    }

    /// Sends a heartbeat, unless there is something to write anyway.
    fn say_alive(&mut self) {
        let id = self.connection.id;
        let added = self.host.with(|_, shared| {
            let outbox = shared.outboxes.of(id).filter(|outbox| outbox.len() == 0);
            outbox.map_or(0, |outbox| {
                outbox.heartbeat();
                outbox.len()
            })
        });
        self.uncounted += added;
    }

    /// Tells whether the client has closed the connection, and may still be writing what it wrote
    /// behind that.
    pub(crate) fn is_left(&self) -> bool {
        self.connection.is_left()
    }

    /// Tells whether a close of ours waits to be answered.
    pub(crate) fn is_closing(&self) -> bool {
        self.connection.is_closing()
    }

    /// Listens to nothing more until the connection closes.
    pub(crate) fn pause(&mut self) {
        self.is_paused = true;
    }

    /// Does what somebody else than the client wants of the connection.
    pub(crate) fn apply(&mut self, command: Command) {
        let connection = &mut self.connection;
        self.host.with(|now, shared| connection.apply(now, shared, command));
    }
}

impl<S: AsyncRead + AsyncWrite + HangUp + Unpin> Driver<S> {
    /// Writes and reads as long as either goes on. Ready at the end.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let wrote = self.poll_write(cx)?;
            if self.wants == Wants::End && self.batch.is_empty() {
                return Poll::Ready(Ok(()));
            }
            let read = match self.poll_read(cx) {
                Poll::Ready(read) => read?,
                Poll::Pending => false,
            };
            if self.wants == Wants::Turn {
                // Others first, on this thread and on those that wait for the lock.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if !wrote && !read {
                return self.poll_absence(cx).map(Err);
            }
        }
    }

    /// Ready with an error when the client has been gone too long while something else than the
    /// client keeps it from being read from. The frames that it had sent before are still handled
    /// if that ends in time; but the memory that it holds may be what everybody waits for.
    fn poll_absence(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        if !matches!(self.wants, Wants::Room | Wants::Relief | Wants::Disk(_)) {
            return Poll::Pending;
        }
        let timeout = self.broker.config.stall_timeout;
        let absence = self.absence.get_or_insert_with(|| Absence::watch(timeout));
        absence.poll(&mut self.stream, cx).map(|()| {
            let text =
                format!("the client has gone, and what it had sent could not be looked at for {timeout:?}");
            io::Error::new(io::ErrorKind::TimedOut, text)
        })
    }

    /// Writes until nothing is left or the socket takes no more; tells whether anything was
    /// written.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> io::Result<bool> {
        let mut wrote = false;
        loop {
            if self.batch.is_empty() && !self.take_batch(cx) {
                return Ok(wrote);
            }
            if self.poll_held(cx).is_pending() {
                return Ok(wrote);
            }
            let mut slices = [IoSlice::new(&[]); SLICES];
            let count = self.batch.slices(&mut slices);
            let slices = slices.get(..count).unwrap_or_default();
            match Pin::new(&mut self.stream).poll_write_vectored(cx, slices)? {
                Poll::Pending => return Ok(wrote),
                Poll::Ready(0) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(count) => {
                    self.batch.advance(count);
                    self.progress.written(count);
                    let uncounted = count.min(self.uncounted);
                    self.uncounted -= uncounted;
                    self.spoke |= count > uncounted;
                    wrote = true;
                }
            }
        }
    }

    /// Takes what has gathered, and lets deliveries gather again.
    fn take_batch(&mut self, cx: &Context<'_>) -> bool {
        let (connection, batch) = (&mut self.connection, &mut self.batch);
        let id = connection.id;
        let taken = self.host.with(|now, shared| {
            connection.apply_all(now, shared);
            let taken = shared.outboxes.take(id, batch, cx.waker());
            if taken {
                shared.vhost.drained(now, id, &mut shared.outboxes);
            }
            taken
        });
        if taken && let Some(delay) = self.broker.faults.delay() {
            self.held = Some(Box::pin(sleep_until(Instant::now() + delay)));
        }
        taken
    }

    fn poll_held(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(held) = &mut self.held {
            std::task::ready!(held.as_mut().poll(cx));
            self.held = None;
        }
        Poll::Ready(())
    }

    /// Tells whether the broker is still short of memory, so that nothing more is taken of one who
    /// publishes.
    fn is_held_back(&self) -> bool {
        !self.is_closing() && self.host.with(|_, shared| shared.alarm.is_on())
    }

    /// Tells whether it still holds more than its share of the memory, so that nothing more is
    /// read. The turn that sees room for it wakes it.
    fn is_over_share(&self) -> bool {
        let id = self.connection.id;
        !self.is_closing()
            && self.host.with(|_, shared| {
                let is_over = shared.is_over_share(id);
                if is_over {
                    shared.wait_for_room(id);
                }
                is_over
            })
    }

    /// Tells whether what the connection waits for is not on disk. Whoever writes there wakes it,
    /// for an answer waits for that too.
    fn is_ahead_of_disk(&self, change: u64) -> bool {
        !self.is_closing() && self.host.with(|_, shared| !shared.pending_answers.is_on_disk(change))
    }

    /// Tells whether its transaction waits for others. Who ends those wakes it, though there may be
    /// more to write than the client reads: others wait behind it.
    fn waits_for_others(&self, cx: &Context<'_>) -> bool {
        let connection = &self.connection;
        self.host.with(|_, shared| {
            let waits = connection.waits(shared);
            if waits && let Some(outbox) = shared.outboxes.peek(connection.id) {
                outbox.wakes(cx.waker());
            }
            waits
        })
    }

    /// Reads once and lets the session see it; tells whether there was anything.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        if self.is_paused && !self.is_closing() {
            return Poll::Pending;
        }
        match self.wants {
            Wants::End => return Poll::Ready(Ok(false)),
            Wants::Output if !self.batch.is_empty() => return Poll::Pending,
            Wants::Relief if self.is_held_back() => return Poll::Pending,
            Wants::Room if self.is_over_share() => return Poll::Pending,
            Wants::Disk(change) if self.is_ahead_of_disk(change) => return Poll::Pending,
            Wants::Commit if self.waits_for_others(cx) => return Poll::Pending,
            Wants::Output | Wants::Turn | Wants::Room | Wants::Relief | Wants::Disk(_) | Wants::Commit => {}
            Wants::Input => {
                // The rest of the buffer is used first: messages keep all of it alive anyway. The
                // small rest is left over, where it would cost a system call to read little.
                if self.input.capacity() - self.input.len() < (self.read_size / 8).max(READ_AT_FIRST / 2) {
                    self.input.reserve(self.read_size);
                }
                let read = pin!(self.stream.read_buf(&mut self.input)).poll(cx)?;
                let Poll::Ready(count) = read else { return Poll::Pending };
                if count == 0 {
                    return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
                }
                self.heard = true;
                self.progress.read(count);
                self.adapt(count);
            }
        }
        self.absence = None;
        let (connection, input) = (&mut self.connection, &mut self.input);
        self.wants = self.host.with(|now, shared| connection.receive(now, shared, input));
        // Before the client reads of it: another may have its place at once.
        if self.is_left()
            && let Some(place) = self.place.take()
        {
            self.leaving = Some(place.leave());
        }
        Poll::Ready(Ok(true))
    }

    /// Reads more at once when there is more, and gives memory back when there is less.
    fn adapt(&mut self, count: usize) {
        if count >= self.read_size {
            self.read_size = (2 * self.read_size).min(READ_AT_MOST);
        } else if count < self.read_size / 8 {
            self.read_size = (self.read_size / 2).max(READ_AT_FIRST);
        }
    }
}
