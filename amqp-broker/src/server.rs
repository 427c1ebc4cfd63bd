//! Sockets: one task a connection. It reads large chunks, gives each to the session under one lock, and writes what has
//! gathered in the connection's outbox with one system call.

use std::{
    future::poll_fn,
    io::{self, IoSlice},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::BytesMut;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpListener,
    sync::watch,
    time::{Instant, Interval, MissedTickBehavior, interval_at, sleep, sleep_until, timeout},
};

use crate::{
    host::Host,
    instance::Instance,
    session::{
        connection::{Connection, Terms, Wants},
        handshake::{Agreed, Handshake, Refused, open_ok},
        outbox::{Batch, Outbox},
    },
};

/// How much is read at once: at first, and by a connection that is busy.
const READ_AT_FIRST: usize = 8 << 10;
const READ_AT_MOST: usize = 256 << 10;

/// How many slices go into one vectored write.
const SLICES: usize = 64;

/// How long a client may take to answer our close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(3);

/// How long to wait when no more connections can be accepted, as when out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Accepts connections until the broker ends.
pub(crate) async fn accept(listener: TcpListener, broker: Arc<Instance>) {
    let mut ending = broker.ending();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = ended(&mut ending) => return,
        };
        match accepted {
            Ok((stream, peer)) => {
                tracing::debug!(%peer, "accepted");
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%peer, %error, "no TCP_NODELAY");
                }
                tokio::spawn(serve(stream, Arc::clone(&broker)));
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Serves one connection to its end.
pub(crate) async fn serve<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, broker: Arc<Instance>) {
    let mut ending = broker.ending();
    let mut input = BytesMut::new();
    let shaken = tokio::select! {
        shaken = timeout(broker.config.login_timeout, shake_hands(&mut stream, &mut input, &broker)) => shaken,
        () = ended(&mut ending) => return,
    };
    let agreed = match shaken {
        Ok(Ok(agreed)) => agreed,
        Ok(Err(why)) => {
            tracing::info!(%why, "no connection");
            return;
        }
        Err(_) => {
            tracing::info!("no connection: the client did not log in in time");
            return;
        }
    };
    let Some(host) = broker.host(&agreed.vhost) else { return };
    start_clock(&host, &broker);
    let heartbeat = agreed.tune.heartbeat;
    let mut driver = Driver::new(stream, input, host, agreed, broker.config.max_message_size);
    let mut pulse = Pulse::new(heartbeat);
    let mut close_by: Option<Instant> = None;
    let mut is_ending = false;
    loop {
        if close_by.is_none() && driver.connection.is_closing() {
            close_by = Some(Instant::now() + CLOSE_TIMEOUT);
        }
        tokio::select! {
            biased;
            end = poll_fn(|cx| driver.poll(cx)) => {
                if let Err(error) = end {
                    tracing::debug!(%error, "connection lost");
                }
                break;
            }
            () = pulse.beat() => {
                if !driver.beat(&mut pulse) {
                    tracing::info!("connection lost: two heartbeats missed");
                    break;
                }
            }
            () = until(close_by) => break,
            () = ended(&mut ending), if !is_ending => {
                is_ending = true;
                driver.shut_down();
            }
        }
    }
    // What is written is to arrive: the other end learns of the end by a clean one.
    let _ = timeout(CLOSE_TIMEOUT, driver.stream.shutdown()).await;
}

async fn shake_hands<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    input: &mut BytesMut,
    broker: &Instance,
) -> Result<Agreed, Refused> {
    let mut handshake = Handshake::new(&broker.config);
    let mut output = BytesMut::new();
    loop {
        let outcome = handshake.receive(input, &mut output);
        let lost = |_| Refused::Left;
        stream.write_all_buf(&mut output).await.map_err(lost)?;
        match outcome {
            Ok(Some(agreed)) => return Ok(agreed),
            Ok(None) => {}
            Err(why) => {
                // A clean end, so that what was said is not lost with a reset.
                stream.shutdown().await.map_err(lost)?;
                drain(stream).await;
                return Err(why);
            }
        }
        if stream.read_buf(input).await.map_err(lost)? == 0 {
            return Err(Refused::Left);
        }
    }
}

/// Reads what still comes until the other end closes too.
async fn drain<S: AsyncRead + Unpin>(stream: &mut S) {
    let mut rest = [0; 512];
    let drained = async { while matches!(stream.read(&mut rest).await, Ok(count) if count > 0) {} };
    let _ = timeout(CLOSE_TIMEOUT, drained).await;
}

/// Starts the clock of a virtual host, if it does not run: one task for all connections. Where it ends with its runtime,
/// the next connection brings another.
fn start_clock(host: &Arc<Host>, broker: &Instance) {
    let Some(clock) = Host::claim_clock(host) else { return };
    let mut ending = broker.ending();
    tokio::spawn(async move {
        tokio::select! {
            () = clock.run() => {}
            () = ended(&mut ending) => {}
        }
    });
}

async fn ended(ending: &mut watch::Receiver<bool>) {
    // Without a sender there is no broker any more: an end too.
    let _ = ending.wait_for(|ending| *ending).await;
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// Heartbeats: two ticks in each interval that was agreed on.
struct Pulse {
    ticks: Option<Interval>,
    silent: u8,
}

impl Pulse {
    fn new(seconds: u16) -> Self {
        let period = Duration::from_secs(seconds.into()) / 2;
        let ticks = (seconds > 0).then(|| {
            let mut ticks = interval_at(Instant::now() + period, period);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks
        });
        Pulse { ticks, silent: 0 }
    }

    async fn beat(&mut self) {
        match &mut self.ticks {
            Some(ticks) => {
                ticks.tick().await;
            }
            None => std::future::pending().await,
        }
    }

    /// Whether a client heard, or not heard, since the last tick still counts as alive.
    fn lives(&mut self, heard: bool) -> bool {
        self.silent = if heard { 0 } else { self.silent + 1 };
        self.silent < 5
    }
}

/// A connection with its stream.
struct Driver<S> {
    stream: S,
    connection: Connection,
    input: BytesMut,
    read_size: usize,
    /// What is being written.
    batch: Batch,
    wants: Wants,
    heard: bool,
    spoke: bool,
    host: Arc<Host>,
}

impl<S> Drop for Driver<S> {
    fn drop(&mut self) {
        let id = self.connection.id;
        self.host.with(|now, shared| {
            shared.vhost.disconnect(now, id, &mut shared.outboxes);
            shared.outboxes.close(id);
        });
    }
}

impl<S> Driver<S> {
    fn new(stream: S, input: BytesMut, host: Arc<Host>, agreed: Agreed, max_message_size: u64) -> Self {
        let frame_max = agreed.tune.frame_max as usize;
        let id = host.with(|_, shared| {
            let id = shared.vhost.connect(agreed.access, agreed.cancel_notify);
            shared.outboxes.open(id, Outbox::new(frame_max));
            shared.outboxes.send(id, 0, &open_ok());
            id
        });
        let terms = Terms { channel_max: agreed.tune.channel_max, frame_max, max_message_size };
        Driver {
            stream,
            connection: Connection::new(id, terms),
            input,
            read_size: READ_AT_FIRST,
            batch: Batch::default(),
            // What came with the handshake's last frame is looked at first.
            wants: Wants::Output,
            heard: true,
            spoke: true,
            host,
        }
    }

    /// Says that we live if nothing else did; tells whether the client still does.
    fn beat(&mut self, pulse: &mut Pulse) -> bool {
        let id = self.connection.id;
        if !std::mem::take(&mut self.spoke) {
            self.host.with(|_, shared| shared.outboxes.of(id).map(Outbox::heartbeat));
        }
        pulse.lives(std::mem::take(&mut self.heard))
    }

    fn shut_down(&mut self) {
        let connection = &mut self.connection;
        self.host.with(|now, shared| connection.shut_down(now, shared));
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Driver<S> {
    /// Writes and reads as long as either goes on. Ready at the end.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let wrote = self.poll_write(cx)?;
            if self.wants == Wants::End && self.batch.is_empty() {
                return Poll::Ready(Ok(()));
            }
            let read = match self.poll_read(cx) {
                Poll::Ready(read) => read?,
                Poll::Pending => false,
            };
            if !wrote && !read {
                return Poll::Pending;
            }
        }
    }

    /// Writes until nothing is left or the socket takes no more; tells whether anything was written.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> io::Result<bool> {
        let mut wrote = false;
        loop {
            if self.batch.is_empty() && !self.take_batch(cx) {
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
                    self.spoke = true;
                    wrote = true;
                }
            }
        }
    }

    /// Takes what has gathered, and lets deliveries gather again.
    fn take_batch(&mut self, cx: &Context<'_>) -> bool {
        let (id, batch) = (self.connection.id, &mut self.batch);
        self.host.with(|now, shared| {
            let taken = shared.outboxes.peek(id).is_some_and(|outbox| outbox.take(batch, cx.waker()));
            if taken {
                shared.vhost.drained(now, id, &mut shared.outboxes);
            }
            taken
        })
    }

    /// Reads once and lets the session see it; tells whether there was anything.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        match self.wants {
            Wants::End => return Poll::Ready(Ok(false)),
            Wants::Output if !self.batch.is_empty() => return Poll::Pending,
            Wants::Output => {}
            Wants::Input => {
                // What is left of the buffer is used first: others may keep the rest of it alive anyway.
                if self.input.capacity() - self.input.len() < self.read_size / 2 {
                    self.input.reserve(self.read_size);
                }
                let read = pin!(self.stream.read_buf(&mut self.input)).poll(cx)?;
                let Poll::Ready(count) = read else { return Poll::Pending };
                if count == 0 {
                    return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
                }
                self.heard = true;
                self.adapt(count);
            }
        }
        let (connection, input) = (&mut self.connection, &mut self.input);
        self.wants = self.host.with(|now, shared| connection.receive(now, shared, input));
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
