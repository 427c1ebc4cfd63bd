//! The driver of an open connection: it reads large chunks, hands each to the session under one
//! lock, and writes the contents of the connection's outbox with one system call.

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
    clients::{ClientEntry, Leaving, Login},
    hang_up::HangUp,
    heartbeat::Heartbeat,
    host::Host,
    instance::Instance,
};
use crate::session::{
    command::Command,
    connection::{ConnectionSession, ConnectionTerms, Wants},
    handshake::{Agreed, open_ok},
    holdings::Traffic,
    outbox::{Outbox, OutputBatch},
};

/// The size of the first reads, in octets; a busy connection reads more at once.
const READ_AT_FIRST: usize = 8 << 10;
const READ_AT_MOST: usize = 256 << 10;

/// The most slices of one vectored write.
const SLICES: usize = 64;

/// An open connection with its stream.
pub(crate) struct Driver<S> {
    pub(crate) stream: S,
    connection: ConnectionSession,
    input: BytesMut,
    read_size: usize,
    /// The octets that are being written.
    batch: OutputBatch,
    wants: Wants,
    /// Set when nothing more is read until the connection closes.
    is_paused: bool,
    heard: bool,
    spoke: bool,
    /// How many of the octets to be written do not count as traffic, which makes a heartbeat
    /// unnecessary: heartbeats themselves, and the end of the handshake.
    uncounted: usize,
    /// The client's entry in the list of clients, until it has left.
    place: Option<ClientEntry>,
    leaving: Option<Leaving>,
    /// Set when the virtual host has removed the connection.
    is_gone: bool,
    host: Arc<Host>,
    broker: Arc<Instance>,
    progress: Traffic,
    /// When answers are delayed, the time at which the current batch may be written.
    delayed: Option<Pin<Box<Sleep>>>,
    /// Watches whether the client has gone, while nothing is read.
    absence: Option<Absence>,
}

impl<S> Drop for Driver<S> {
    fn drop(&mut self) {
        self.leave();
    }
}

impl<S> Driver<S> {
    /// Removes the connection from its virtual host, with all that is its own.
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
            // Another connection may get this slot soon.
            shared.alarm.forget(id);
        });
    }

    /// Takes the octets that were read and not processed.
    pub(crate) fn take_unseen(&mut self) -> BytesMut {
        std::mem::take(&mut self.input)
    }

    /// Creates the driver; `input` holds the octets that came behind the handshake's last frame.
    pub(crate) fn new(
        stream: S,
        input: BytesMut,
        (broker, host): (Arc<Instance>, Arc<Host>),
        agreed: Agreed,
        place: ClientEntry,
    ) -> Self {
        let frame_max = agreed.tune.frame_max as usize;
        let (user, vhost) = (agreed.access.user.clone(), agreed.vhost);
        let (id, progress, uncounted) = host.with(|_, shared| {
            let id = shared.vhost.connect(place.client.name.clone(), agreed.access, agreed.cancel_notify);
            shared.outboxes.open(id, Outbox::new(place.client.name.clone(), frame_max));
            let progress = shared.holdings.open(id, Some(place.client.commands()));
            shared.outboxes.send(id, 0, &open_ok());
            (id, progress, shared.outboxes.peek(id).map_or(0, |outbox| outbox.len()))
        });
        let client_name = agreed.client_name.as_deref().map(Arc::from);
        let (tune, introduction) = (agreed.tune, agreed.introduction);
        let client_name_given = agreed.client_name;
        let tally = broker.config.users.tally(&user);
        place.client.logged_in(Login {
            user,
            vhost,
            client_name: client_name_given,
            id: Some(id),
            tune,
            introduction,
        });
        let terms = ConnectionTerms {
            channel_max: agreed.tune.channel_max,
            frame_max,
            max_message_size: broker.config.max_message_size(),
            blocked_notify: agreed.blocked_notify,
            name: place.client.name.clone(),
            client_name,
            tally,
        };
        Driver {
            stream,
            connection: ConnectionSession::new(id, terms),
            input,
            read_size: READ_AT_FIRST,
            batch: OutputBatch::default(),
            // The octets that came behind the handshake's last frame are processed first.
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
            delayed: None,
            absence: None,
        }
    }

    /// Sends a heartbeat if nothing else was sent; tells whether the client counts as alive.
    pub(crate) fn beat(&mut self, heartbeat: &mut Heartbeat) -> bool {
        if !std::mem::take(&mut self.spoke) {
            self.say_alive();
        }
        // A client whose connection is not being read cannot prove that it is alive, so it counts
        // as alive.
        heartbeat.lives(
            std::mem::take(&mut self.heard)
                || matches!(
                    self.wants,
                    Wants::Turn | Wants::Room | Wants::Relief | Wants::Disk(_) | Wants::Commit
                ),
        )
    }

    /// The close that ended the connection and the side that sent it, if there was one.
    pub(crate) fn why(&self) -> Option<&str> {
        self.connection.why()
    }

    /// Sends a heartbeat, unless other output waits.
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

    /// Tells whether the client has closed the connection; it may still be writing.
    pub(crate) fn is_left(&self) -> bool {
        self.connection.is_left()
    }

    /// Tells whether the broker has sent a close that is not answered yet.
    pub(crate) fn is_closing(&self) -> bool {
        self.connection.is_closing()
    }

    /// Stops reading until the connection closes.
    pub(crate) fn pause(&mut self) {
        self.is_paused = true;
    }

    /// Applies a command from others than the client.
    pub(crate) fn apply(&mut self, command: Command) {
        let connection = &mut self.connection;
        self.host.with(|now, shared| connection.apply(now, shared, command));
    }
}

impl<S: AsyncRead + AsyncWrite + HangUp + Unpin> Driver<S> {
    /// Writes and reads as long as either makes progress. Ready at the end of the connection.
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
                // This task yields to other tasks of this thread, and to the threads that wait for
                // the lock.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if !wrote && !read {
                return self.poll_absence(cx).map(Err);
            }
        }
    }

    /// Ready with an error when the client has been gone for too long, while something else keeps
    /// the connection from being read. Frames that it sent before are still processed if the
    /// obstacle ends in time; but the obstacle may be a lack of memory that this connection itself
    /// holds.
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

    /// Writes until nothing is left or the socket is full; tells whether anything was written.
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

    /// Takes the contents of the outbox, so that deliveries can gather again.
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
            self.delayed = Some(Box::pin(sleep_until(Instant::now() + delay)));
        }
        taken
    }

    fn poll_held(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(delayed) = &mut self.delayed {
            std::task::ready!(delayed.as_mut().poll(cx));
            self.delayed = None;
        }
        Poll::Ready(())
    }

    /// Tells whether memory is still low, so that a publisher is not read.
    fn is_held_back(&self) -> bool {
        !self.is_closing() && self.host.with(|_, shared| shared.alarm.is_on())
    }

    /// Tells whether the connection still holds more than its share of memory, so that it is not
    /// read. It is woken by the turn that finds room.
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

    /// Tells whether a change that the connection waits for is not on disk yet. An answer waits for
    /// it too, so the disk's progress wakes the connection.
    fn is_ahead_of_disk(&self, change: u64) -> bool {
        !self.is_closing() && self.host.with(|_, shared| !shared.pending_answers.is_on_disk(change))
    }

    /// Tells whether its transaction waits for others, whose end wakes it. This is checked even if
    /// the client does not read its output, because other transactions wait behind it.
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

    /// Reads once and processes the input; tells whether there was any.
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
                // The rest of the buffer is used first, because messages keep the whole buffer
                // alive anyway. A small rest is skipped, because a system call for little is not
                // worth it.
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
        // The entry is freed before the client can see the answer: it may reconnect at once.
        if self.is_left()
            && let Some(place) = self.place.take()
        {
            self.leaving = Some(place.leave());
        }
        Poll::Ready(Ok(true))
    }

    /// Enlarges the read buffer when reads fill it, and frees memory when they do not.
    fn adapt(&mut self, count: usize) {
        if count >= self.read_size {
            self.read_size = (2 * self.read_size).min(READ_AT_MOST);
        } else if count < self.read_size / 8 {
            self.read_size = (self.read_size / 2).max(READ_AT_FIRST);
        }
    }
}
