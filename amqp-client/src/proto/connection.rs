//! The engine of one connection: handshake, channels by number, demultiplexing, blocking, close.

mod driving;
mod ending;
mod handles;
mod held;
mod input;
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

use amqp_codec::Table;

use crate::proto::{
    calls::{CallId, Calls},
    channel::Channel,
    channel_ref::ChannelRef,
    consuming::inbox::Backlog,
    ground::{gathering::Gathering, heartbeat::Heartbeat, output::Output, waiters::Waiters},
    handshake::{Handshake, Login},
    link::{Link, Window},
    registry::Registry,
};
use crate::{
    error::{Error, Result},
    event::Event,
    metrics::Metrics,
};

/// The largest frame until the limits are agreed: room for a `connection.start` with many
/// properties.
const FRAME_MAX_BEFORE_TUNE: usize = 128 * 1024;

/// The limits of what a connection holds in memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// The outgoing bytes above which publishes wait.
    pub(crate) write_buffer: usize,
    pub(crate) window: Window,
    /// How long a delivery may be held before the user is warned.
    pub(crate) warn_unacked_after: Duration,
    /// The bytes of waiting deliveries without a prefetch above which reading pauses.
    pub(crate) delivery_buffer: usize,
    /// The bytes of all waiting deliveries above which reading pauses.
    pub(crate) inboxes: usize,
    /// The largest body that is accepted or sent.
    pub(crate) max_message_size: u64,
}

/// A channel's number, and an epoch that tells apart the channels which use the number one after
/// the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ChannelKey {
    pub(crate) id: u16,
    epoch: u64,
}

/// The phases of a connection.
///
/// ```text
///            begin            opened              restored
///   Down ───────────► Handshake ──────► Restoring ──────────► Open
///    ▲  ◄──────── failed ───┘               │                  │
///    └──────────── lost, when it is to be recovered ───────────┤
///   Ended ◄─── otherwise ─── Closing ◄──── closed, broken ─────┘
/// ```
enum Phase {
    /// There is no transport, not yet or not any more. The reason is that of the last attempt, or
    /// of the loss.
    Down(Error),
    Handshake(Box<Handshake>),
    /// The connection is open again after a loss, and its channels are being restored.
    Restoring,
    Open,
    /// `connection.close` was sent; the reason is what channels and calls were told.
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
    /// How many attempts to recover it have begun.
    attempts: u32,
    warn_unacked_after: Duration,
    channel_max: u16,
    /// The channels by number; 0 is never used.
    channels: Vec<Option<(u64, Box<Channel>)>>,
    epochs: u64,
    heartbeat: Heartbeat,
    /// Channels with deliveries to be put into inboxes.
    touched: Vec<u16>,
    /// The calls of `connection.update-secret` under way.
    secret_updates: VecDeque<CallId>,
    /// When futures that wait for a window are woken even if it has little room.
    windows_open_at: Option<Instant>,
    room_waiters: Waiters,
    state_waiters: Waiters,
    /// The driver, while it sleeps.
    driver: Option<Waker>,
    /// Whether the driver sleeps because the transport takes no more: new output does not wake it
    /// then.
    driver_is_writing: bool,
    /// Whether the driver does not read, because too many deliveries wait for consumers.
    is_reading_paused: bool,
}

impl Engine {
    /// Makes an engine without a transport; [`begin`](Self::begin) has to follow.
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
            server_properties: Table::new(),
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

    /// Begins a handshake on a new transport by sending the protocol header.
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

    /// Returns the events to report once the lock is released.
    #[inline]
    pub(crate) fn events(&mut self) -> &mut Vec<Event> {
        &mut self.link.events
    }

    /// Returns the wakers to wake once the lock is released.
    #[inline]
    pub(crate) fn wakes(&mut self) -> &mut Vec<Waker> {
        &mut self.link.wakes
    }

    /// Tells whether the connection has ended for good.
    pub(crate) fn is_ended(&self) -> bool {
        matches!(self.phase, Phase::Ended(_))
    }

    /// Tells whether there is no transport left that the driver could use.
    pub(crate) fn is_down(&self) -> bool {
        matches!(self.phase, Phase::Down(_) | Phase::Ended(_))
    }

    /// Queues the waiting acks, and lets those of the next moment gather.
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

    /// Borrows a channel together with what it shares with the others.
    ///
    /// # Errors
    /// The reason why the connection has ended, or that the channel has, without the reason.
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

    /// Returns the channels that are `wanted`.
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

    /// Returns why the connection has ended; `None` while it is open or being recovered.
    pub(crate) fn reason(&self) -> Option<Error> {
        match &self.phase {
            Phase::Down(_) | Phase::Handshake(_) | Phase::Restoring | Phase::Open => None,
            Phase::Closing { reason, .. } if self.recovers_from(reason) => None,
            Phase::Closing { reason, .. } | Phase::Ended(reason) => Some(reason.clone()),
        }
    }

    /// Tells whether all operations are possible now.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open)
    }

    /// Returns why this side is closing the connection, if it is.
    pub(super) fn closing_for(&self) -> Option<Error> {
        match &self.phase {
            Phase::Closing { reason, .. } => Some(reason.clone()),
            _ => None,
        }
    }

    /// Tells whether the connection is recovered after a loss for this reason: not if its user
    /// closed it.
    pub(super) fn recovers_from(&self, reason: &Error) -> bool {
        self.recovers && !matches!(reason, Error::ConnectionEnded)
    }

    /// Forgets auto-delete queues that lost their last consumer, since the broker deletes them.
    pub(super) fn forget_queues_without_consumers(&mut self) {
        let Some(registry) = &mut self.link.registry else { return };
        for queue in self.link.consumers_gone.drain(..) {
            let mut channels = self.channels.iter().flatten();
            if !channels.any(|(_, channel)| channel.consumers.any_of(&queue)) {
                registry.last_consumer_gone(&queue);
            }
        }
    }
}
