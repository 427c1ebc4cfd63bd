//! The engine of one connection: handshake, channels by number, demultiplexing, blocking, close.

mod ending;
mod handles;
mod held;
mod restore;
mod secret;
mod state;
pub(crate) mod wait;

use std::{
    collections::VecDeque,
    sync::Arc,
    task::Waker,
    time::{Duration, Instant},
};

use amqp_codec::{
    Arguments as _, Error as CodecError, FRAME_MIN_SIZE, FrameKind, Frames, Method, MethodId, Tune,
    frame::{HEARTBEAT, check_heartbeat},
    method::{basic, connection},
};
use bytes::{BufMut, Bytes, BytesMut};

use crate::proto::{
    calls::{CallId, Calls},
    channel::{After, Channel},
    channel_ref::ChannelRef,
    consuming::inbox::Backlog,
    ground::chunk::{frames_of, next_frame, whole_frames},
    ground::gathering::Gathering,
    ground::heartbeat::{Due, Heartbeat},
    ground::output::Output,
    ground::waiters::Waiters,
    handshake::{Handshake, Login, Progress},
    link::{Link, Window},
    registry::Registry,
};
use crate::{
    error::{Error, Result},
    event::Event,
    metrics::Metrics,
};

/// How long room in a window of unconfirmed publishes may wait to become more.
const WINDOW_DELAY: Duration = Duration::from_millis(1);

/// Until the limits are agreed on: room for a `connection.start` with many properties.
const FRAME_MAX_BEFORE_TUNE: usize = 128 * 1024;

/// When both sides set no limit.
const FRAME_MAX_UNLIMITED: usize = 64 * 1024 * 1024;

/// Sizes that bound what a connection holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Outgoing bytes over which publishes wait.
    pub(crate) write_buffer: usize,
    pub(crate) window: Window,
    /// How long a delivery may be held before the user is warned.
    pub(crate) warn_unacked_after: Duration,
    /// Bytes of deliveries without a prefetch over which reading waits.
    pub(crate) delivery_buffer: usize,
    /// Bytes of all deliveries over which it does.
    pub(crate) inboxes: usize,
    /// The largest body taken, and the largest sent.
    pub(crate) max_message_size: u64,
}

/// A channel's number, and which of the channels that bear it in turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ChannelKey {
    pub(crate) id: u16,
    epoch: u64,
}

/// ```text
///            begin            opened              restored
///   Down ───────────► Handshake ──────► Restoring ──────────► Open
///    ▲  ◄──────── failed ───┘               │                  │
///    └──────────── lost, when it is to be recovered ───────────┤
///   Ended ◄─── otherwise ─── Closing ◄──── closed, broken ─────┘
/// ```
enum Phase {
    /// There is no transport: not yet, or not any more. The reason is that of the last attempt, or of the loss.
    Down(Error),
    Handshake(Box<Handshake>),
    /// Open again after a loss; what was there before is being set up.
    Restoring,
    Open,
    /// `connection.close` is sent; the reason is what everyone has been told.
    Closing {
        until: Instant,
        reason: Error,
    },
    Ended(Error),
}

pub(crate) struct Engine {
    phase: Phase,
    link: Link,
    /// Whether a lost connection is to be recovered.
    recovers: bool,
    /// Whether a channel that the broker closes for an error is opened again.
    reopens: bool,
    /// How often the connection has been restored.
    restores: u64,
    /// Why the connection that is being recovered was lost.
    lost: Option<Error>,
    /// Attempts to recover it that have begun.
    attempts: u32,
    warn_unacked_after: Duration,
    channel_max: u16,
    /// By number; 0 is never used.
    channels: Vec<Option<(u64, Box<Channel>)>>,
    epochs: u64,
    heartbeat: Heartbeat,
    /// Channels with deliveries to be put into inboxes.
    touched: Vec<u16>,
    /// Calls of `connection.update-secret` under way.
    secret_updates: VecDeque<CallId>,
    /// When those who wait for a window are told of what little room it has.
    windows_open_at: Option<Instant>,
    room_waiters: Waiters,
    state_waiters: Waiters,
    /// The driver, while it sleeps.
    driver: Option<Waker>,
    /// It sleeps because the transport takes no more: new output is no reason to wake it.
    driver_is_writing: bool,
    /// It reads nothing, for too much waits for consumers.
    is_reading_paused: bool,
}

impl Engine {
    /// Without a transport as yet; [`begin`](Self::begin) is next.
    pub(crate) fn new(limits: Limits, recovers: bool, reopens: bool, now: Instant) -> Self {
        let link = Link {
            output: Output::default(),
            write_buffer: limits.write_buffer,
            blocked: None,
            gathering: Gathering::default(),
            frame_max: FRAME_MAX_BEFORE_TUNE,
            calls: Calls::default(),
            wakes: Vec::new(),
            backlog: Arc::new(Backlog::new(limits.delivery_buffer, limits.inboxes)),
            window: limits.window,
            window_opens: false,
            max_message_size: limits.max_message_size,
            events: Vec::new(),
            metrics: Metrics::default(),
            registry: recovers.then(Registry::default),
            lost: 0,
            consumers_gone: Vec::new(),
            has_consumer_qos: false,
            now,
        };
        Engine {
            phase: Phase::Down(Error::ConnectionEnded),
            link,
            recovers,
            reopens,
            lost: None,
            attempts: 0,
            restores: 0,
            warn_unacked_after: limits.warn_unacked_after,
            channel_max: 0,
            channels: vec![None],
            epochs: 0,
            heartbeat: Heartbeat::new(Duration::ZERO, now),
            touched: Vec::new(),
            secret_updates: VecDeque::new(),
            windows_open_at: None,
            room_waiters: Waiters::default(),
            state_waiters: Waiters::default(),
            driver: None,
            driver_is_writing: false,
            is_reading_paused: false,
        }
    }

    /// There is a transport: sends the protocol header.
    pub(crate) fn begin(&mut self, login: Login, now: Instant) {
        if self.is_ended() {
            return;
        }
        self.link.output.clear();
        self.link.frame_max = FRAME_MAX_BEFORE_TUNE;
        self.heartbeat = Heartbeat::new(Duration::ZERO, now);
        let handshake = Handshake::begin(login, &mut self.link);
        self.phase = Phase::Handshake(Box::new(handshake));
    }

    /// Takes all whole frames off the buffer and acts on them.
    pub(crate) fn handle_input(&mut self, now: Instant, buffer: &mut BytesMut) {
        self.heartbeat.read(now);
        self.link.now = now;
        if let Phase::Handshake(handshake) = &self.phase {
            match handshake.may_be_frame(buffer) {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => return self.end(&error),
            }
        }
        let (whole, broken) = whole_frames(buffer, self.link.frame_max);
        let chunk = buffer.split_to(whole).freeze();
        self.link.metrics.bytes_received += chunk.len() as u64;
        let mut frames = frames_of(&chunk);
        while !frames.rest().is_empty() && !self.is_down() {
            if let Err(error) = self.handle_frame(now, &chunk, &mut frames) {
                return self.fail(now, error);
            }
        }
        self.put_batches();
        if std::mem::take(&mut self.link.window_opens) {
            self.windows_open_at.get_or_insert(now + WINDOW_DELAY);
        }
        if let Some(error) = broken {
            let error = match &self.phase {
                Phase::Handshake(handshake) => handshake.broken(error),
                _ => Error::Protocol { channel: 0, source: error },
            };
            self.fail(now, error.clone());
            // Where a frame begins is not known any more, so an answer to the close could not be read.
            self.end(&error);
        }
    }

    /// The transport ended or failed.
    pub(crate) fn handle_lost(&mut self, error: Option<Error>) {
        let reason = match (&self.phase, error) {
            (Phase::Closing { reason, .. }, _) => reason.clone(),
            (_, Some(error)) => error,
            (Phase::Handshake(handshake), None) => handshake.end_of_stream(),
            (_, None) => Error::end_of_stream(),
        };
        self.end(&reason);
    }

    /// Acts on what has become due.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.link.gathering.handle_timeout(now);
        if self.windows_open_at.is_some_and(|at| now >= at) {
            self.open_windows();
        }
        match &self.phase {
            Phase::Closing { until, reason } if now >= *until => {
                let reason = reason.clone();
                self.end(&reason);
            }
            Phase::Open | Phase::Restoring | Phase::Closing { .. } => match self.heartbeat.due(now) {
                Due::Dead => self.end(&Error::HeartbeatMissed { silent: self.heartbeat.patience() }),
                Due::Send => {
                    self.heartbeat.written(now);
                    self.link.output.buffer().put_slice(&HEARTBEAT);
                    self.link.metrics.frames_sent += 1;
                }
                Due::Nothing => {}
            },
            Phase::Down(_) | Phase::Handshake(_) | Phase::Ended(_) => {}
        }
        self.warn_of_held_deliveries(now);
    }

    /// Tells those who wait for room in a window of what there is.
    fn open_windows(&mut self) {
        self.windows_open_at = None;
        for (_, channel) in self.channels.iter_mut().flatten() {
            channel.wake_if_room(&mut self.link);
        }
    }

    /// Looked at with every sign of life: brokers close channels whose deliveries are held for too long.
    fn warn_of_held_deliveries(&mut self, now: Instant) {
        for (index, slot) in self.channels.iter_mut().enumerate() {
            if let Some((_, channel)) = slot
                && let Some(held) = channel.held_too_long(now, self.warn_unacked_after)
            {
                self.link.events.push(Event::DeliveryHeld { channel: index as u16, held });
            }
        }
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) at the latest.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let closing = match self.phase {
            Phase::Closing { until, .. } => Some(until),
            _ => None,
        };
        [self.heartbeat.deadline(), closing, self.link.gathering.until(), self.windows_open_at]
            .into_iter()
            .flatten()
            .min()
    }

    /// Swaps the outgoing bytes out for an empty buffer. `false` when there are none.
    pub(crate) fn take_output(&mut self, now: Instant, batch: &mut Output) -> bool {
        self.flush_acks(now);
        if self.link.output.is_empty() {
            return false;
        }
        self.heartbeat.written(now);
        self.link.metrics.bytes_sent += self.link.output.len() as u64;
        std::mem::swap(&mut self.link.output, batch);
        self.room_waiters.wake_all(&mut self.link.wakes);
        true
    }

    /// The driver goes to sleep; it is woken when there is something to do. `is_writing` when the transport took less
    /// than was offered, so that there is nothing to do before it takes more.
    pub(crate) fn sleep(&mut self, waker: &Waker, is_writing: bool) {
        self.driver = Some(waker.clone());
        self.driver_is_writing = is_writing;
    }

    /// Gives back what a quiet connection does not need.
    pub(crate) fn release(&mut self) {
        self.link.output.release();
        for (_, channel) in self.channels.iter_mut().flatten() {
            channel.release(&mut self.link.wakes);
        }
    }

    /// Whom to wake of the driver, if it sleeps and has something to do.
    #[inline]
    pub(crate) fn rouse(&mut self) -> Option<Waker> {
        let output =
            (self.link.gathering.is_due() || !self.link.output.is_empty()) && !self.driver_is_writing;
        // What was waited for may have been taken after the driver looked, and before it slept.
        let may_read = self.is_reading_paused && !self.link.backlog.is_full();
        if output || may_read || self.is_down() { self.driver.take() } else { None }
    }

    /// What is to be told once the lock is released.
    #[inline]
    pub(crate) fn events(&mut self) -> &mut Vec<Event> {
        &mut self.link.events
    }

    /// Everyone to be woken once the lock is released.
    #[inline]
    pub(crate) fn wakes(&mut self) -> &mut Vec<Waker> {
        &mut self.link.wakes
    }

    /// Whether the end is final.
    pub(crate) fn is_ended(&self) -> bool {
        matches!(self.phase, Phase::Ended(_))
    }

    /// Whether there is nothing left to do for the driver: its transport is of no use any more.
    pub(crate) fn is_down(&self) -> bool {
        matches!(self.phase, Phase::Down(_) | Phase::Ended(_))
    }

    /// Tells whether to read no more for now: `true` while more waits for consumers than may. What comes during a handshake or after a
    /// close is none of theirs; and while the connection is restored, what fills them may be of the lost one, and answers are waited for.
    pub(crate) fn is_reading_paused(&mut self, now: Instant) -> bool {
        let paused = self.is_open() && self.link.backlog.is_full();
        self.heartbeat.pause(paused, now);
        self.is_reading_paused = paused;
        paused
    }

    /// Tells whether nothing is read, so that no answer can come.
    pub(crate) fn has_paused_reading(&self) -> bool {
        self.is_reading_paused
    }

    fn handle_frame(&mut self, now: Instant, chunk: &Bytes, frames: &mut Frames<'_>) -> Result<()> {
        let frame = next_frame(frames).map_err(|source| Error::Protocol { channel: 0, source })?;
        self.link.metrics.frames_received += 1;
        if frame.kind == FrameKind::Heartbeat {
            check_heartbeat(frame.channel, frame.payload.len())
                .map_err(|source| Error::Protocol { channel: 0, source })?;
            return Ok(());
        }
        if frame.channel == 0 {
            return self.handle_connection_frame(now, frame.kind, &chunk.slice(frame.payload_range()));
        }
        let slot = self.channels.get_mut(usize::from(frame.channel));
        // After connection.close has been sent all but its answer is ignored (spec section 1.4.2.11).
        if matches!(self.phase, Phase::Closing { .. }) {
            return Ok(());
        }
        let Some(Some((_, channel))) = slot else {
            return Err(Error::Protocol { channel: frame.channel, source: CodecError::ChannelNotOpen });
        };
        let link = &mut self.link;
        match frame.kind {
            FrameKind::Method if MethodId::peek(frame.payload) == Some(basic::Deliver::ID) => {
                channel.deliver(link, chunk, &frame, frames)?;
            }
            FrameKind::Method => {
                let after = channel.method(link, &chunk.slice(frame.payload_range()))?;
                let has_batches = channel.has_batches();
                self.after_method(frame.channel, after);
                if has_batches && after == After::Goes {
                    self.touch(frame.channel);
                }
                return Ok(());
            }
            FrameKind::Header => channel.header(link, &chunk.slice(frame.payload_range()))?,
            FrameKind::Body => channel.body(link, chunk.slice(frame.payload_range()))?,
            FrameKind::Heartbeat => {}
        }
        if channel.has_batches() {
            self.touch(frame.channel);
        }
        Ok(())
    }

    /// The channel has deliveries of the read under way.
    #[inline]
    fn touch(&mut self, id: u16) {
        if self.touched.last() != Some(&id) {
            self.touched.push(id);
        }
    }

    fn after_method(&mut self, id: u16, after: After) {
        match after {
            After::Goes => {}
            After::Lost => self.state_waiters.wake_all(&mut self.link.wakes),
            After::Gone => self.free_channel(id),
        }
        if !self.link.consumers_gone.is_empty() {
            self.forget_queues_without_consumers();
        }
    }

    /// Hands the deliveries of one read to their consumers.
    fn put_batches(&mut self) {
        for id in self.touched.drain(..) {
            if let Some(Some((_, channel))) = self.channels.get_mut(usize::from(id)) {
                channel.put_batches(&mut self.link.wakes);
            }
        }
    }

    fn handle_connection_frame(&mut self, now: Instant, kind: FrameKind, payload: &Bytes) -> Result<()> {
        let broken = |source| Error::Protocol { channel: 0, source };
        if kind != FrameKind::Method {
            let (expected, got) = ("a method frame on channel 0", kind.name());
            return Err(broken(CodecError::UnexpectedFrame { expected, got }));
        }
        let method = Method::decode(payload).map_err(broken)?;
        if let Phase::Handshake(handshake) = &mut self.phase {
            if let Progress::Done(agreed) = handshake.handle(method, &mut self.link)? {
                self.tuned(now, agreed);
            }
            return Ok(());
        }
        match method {
            Method::Connection(connection::Method::Close(close)) => self.closed_by_broker(&close),
            Method::Connection(connection::Method::CloseOk(_)) => {
                let reason = self.closing_for().unwrap_or(Error::ConnectionEnded);
                self.end(&reason);
            }
            Method::Connection(connection::Method::Blocked(blocked)) => {
                self.link.events.push(Event::Blocked(blocked.reason.to_string()));
                self.link.blocked = Some(blocked.reason.detach());
            }
            Method::Connection(connection::Method::Unblocked(_)) => {
                self.link.blocked = None;
                self.link.events.push(Event::Unblocked);
                self.room_waiters.wake_all(&mut self.link.wakes);
            }
            Method::Connection(connection::Method::UpdateSecretOk(_)) => self.secret_updated()?,
            other => {
                let expected = "connection.close, blocked or unblocked";
                return Err(Error::UnexpectedMethod { channel: 0, expected, got: other.name() });
            }
        }
        Ok(())
    }

    fn tuned(&mut self, now: Instant, agreed: Tune) {
        self.link.frame_max = match agreed.frame_max {
            0 => FRAME_MAX_UNLIMITED,
            limit => limit.max(FRAME_MIN_SIZE) as usize,
        };
        self.is_reading_paused = false;
        self.channel_max = if agreed.channel_max == 0 { u16::MAX } else { agreed.channel_max };
        self.heartbeat = Heartbeat::new(Duration::from_secs(agreed.heartbeat.into()), now);
        if self.lost.is_some() {
            self.phase = Phase::Restoring;
        } else {
            self.phase = Phase::Open;
            self.link.events.push(Event::Connected);
        }
        self.state_waiters.wake_all(&mut self.link.wakes);
    }

    /// Queues the acks that wait, and has those that come within the next moment gather.
    fn flush_acks(&mut self, now: Instant) {
        if !self.link.gathering.has_some() {
            return;
        }
        let mut gathering = std::mem::take(&mut self.link.gathering);
        gathering.flush(now, |id| {
            if let Some(Some((_, channel))) = self.channels.get_mut(usize::from(id)) {
                channel.flush_acks(&mut self.link);
            }
        });
        self.link.gathering = gathering;
    }

    /// A channel, borrowed with what it shares with the others.
    ///
    /// # Errors
    /// Why the connection, or the bare fact that the channel, has ended.
    #[inline]
    pub(crate) fn channel(&mut self, key: ChannelKey) -> Result<ChannelRef<'_>> {
        match self.channels.get_mut(usize::from(key.id)) {
            Some(Some((epoch, channel))) if *epoch == key.epoch => {
                Ok(ChannelRef::new(channel, &mut self.link))
            }
            _ => Err(match &self.phase {
                Phase::Closing { reason, .. } | Phase::Ended(reason) => reason.clone(),
                _ => Error::ChannelEnded { channel: key.id },
            }),
        }
    }

    /// The channels that are `wanted`.
    fn channels_that(&self, wanted: impl Fn(&Channel) -> bool) -> Vec<ChannelKey> {
        let channels = (0u16..).zip(&self.channels);
        let wanted = channels.filter_map(|(id, slot)| {
            let (epoch, channel) = slot.as_ref()?;
            wanted(channel).then_some(ChannelKey { id, epoch: *epoch })
        });
        wanted.collect()
    }

    fn free_channel_id(&mut self) -> Result<u16> {
        let free = self.channels.iter().skip(1).position(Option::is_none);
        let id = free.map_or(self.channels.len(), |index| index + 1);
        match u16::try_from(id) {
            Ok(id) if id <= self.channel_max => {
                if usize::from(id) == self.channels.len() {
                    self.channels.push(None);
                }
                Ok(id)
            }
            _ => Err(Error::NoFreeChannel { limit: self.channel_max }),
        }
    }

    fn free_channel(&mut self, id: u16) {
        if let Some(slot) = self.channels.get_mut(usize::from(id)) {
            *slot = None;
        }
    }
}
