//! An open connection: its state, and what all of its parts ask of that. The parts are the files of
//! its folder.

mod closing;
mod commands;
mod methods;
mod pausing;
mod receiving;
mod weight;

use std::sync::Arc;

use amqp_codec::MethodId;

use crate::core::{
    entities::ids::ConnectionId,
    rabbitmq::{access::tally::Tally, refusal::Refusal},
};

use super::{
    channel::{ChannelSession, ClientName},
    frames::bad_frame::unreadable_method,
    paused::Paused,
    shared::Operation,
};

/// The terms agreed with the client.
#[derive(Clone, Debug)]
pub(crate) struct ConnectionTerms {
    pub(crate) channel_max: u16,
    pub(crate) frame_max: usize,
    pub(crate) max_message_size: u64,
    /// Set when the client wants to be told when it is held back.
    pub(crate) blocked_notify: bool,
    /// The connection's name in the log.
    pub(crate) name: String,
    /// The client's name for the connection.
    pub(crate) client_name: ClientName,
    /// The numbers that its user may have open.
    pub(crate) tally: Arc<Tally>,
}

/// What the connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wants {
    /// More input.
    Input,
    /// The next turn, to continue an operation.
    Turn,
    /// The client reads output, before the rest of the input is processed.
    Output,
    /// Connections hold less memory: this one holds more than its share, and is not read.
    Room,
    /// The broker has memory again, before the rest of the input is processed.
    Relief,
    /// The change with this number is on disk, before the rest of the input is processed.
    Disk(u64),
    /// The transactions of others are written, before its own continues.
    Commit,
    /// The output is written; then the connection ends.
    End,
}

/// The phase of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Running,
    /// The client closed it. The answer follows when the entities that belong to the connection are
    /// removed.
    Leaving,
    /// The broker closed it. Everything but the answer is ignored.
    Closing,
    /// The broker closed it because of malformed frames. Nothing more is parsed.
    Deaf,
    Finished,
    /// The client closed it and was answered. Further input is ignored.
    Left,
}

/// An open connection.
#[derive(Debug)]
pub(crate) struct ConnectionSession {
    pub(crate) id: ConnectionId,
    terms: ConnectionTerms,
    phase: Phase,
    /// The channels by number; number 0 is always empty.
    channels: Vec<Option<Box<ChannelSession>>>,
    open_channels: usize,
    /// Set when it has published while publishers are held back.
    is_held_back: bool,
    /// The channels that have confirms to send for the current read.
    owing: Vec<u16>,
    /// The close that ended it, and the side that sent it.
    why: Option<String>,
    /// The channels that received content in the current read.
    sending: Vec<u16>,
    /// How many bytes of content are not published yet.
    unpublished: u64,
    /// The operation that continues in the next turn, before any other input is processed.
    paused: Option<Box<Paused>>,
    /// Set when the current method is to be tried again in the next turn.
    is_to_repeat: bool,
}

/// A refusal, and the method that caused it.
struct Failure {
    refusal: Refusal,
    method: MethodId,
}

impl Failure {
    /// Blames a refusal on this method.
    fn of(method: MethodId) -> impl Fn(Refusal) -> Self {
        move |refusal| Failure { refusal, method }
    }

    /// A method that cannot be read.
    #[cold]
    fn unreadable(error: amqp_codec::Error, channel: u16, payload: &[u8]) -> Self {
        let (refusal, method) = unreadable_method(error, channel, payload);
        Failure { refusal, method }
    }
}

impl ConnectionSession {
    pub(crate) fn new(id: ConnectionId, terms: ConnectionTerms) -> Self {
        ConnectionSession {
            id,
            terms,
            phase: Phase::Running,
            channels: Vec::new(),
            open_channels: 0,
            is_held_back: false,
            owing: Vec::new(),
            why: None,
            sending: Vec::new(),
            unpublished: 0,
            paused: None,
            is_to_repeat: false,
        }
    }

    /// The close that ended the connection and the side that sent it, if there was one.
    pub(crate) fn why(&self) -> Option<&str> {
        self.why.as_deref()
    }

    /// Tells whether the client has closed the connection.
    pub(crate) fn is_left(&self) -> bool {
        self.phase == Phase::Left
    }

    /// Tells whether the broker has sent a close that is not answered yet.
    pub(crate) fn is_closing(&self) -> bool {
        matches!(self.phase, Phase::Closing | Phase::Deaf)
    }

    /// The channel of this number, if it is open and neither it nor the connection is closing.
    #[inline]
    fn channel(&mut self, number: u16) -> Option<&mut ChannelSession> {
        if self.phase != Phase::Running {
            return None;
        }
        self.channels.get_mut(usize::from(number))?.as_deref_mut().filter(|channel| !channel.is_closing())
    }

    fn has_channel(&self, number: u16) -> bool {
        self.channels.get(usize::from(number)).is_some_and(Option::is_some)
    }

    /// Tells whether the broker has closed the channel for an error, so that everything but the
    /// answer is ignored.
    pub(crate) fn is_ignored(&self, number: u16) -> bool {
        let slot = self.channels.get(usize::from(number));
        slot.and_then(Option::as_ref).is_some_and(|channel| channel.is_closing())
    }

    /// Notes that a channel has received content, and whether it has confirms to send for it.
    #[inline]
    fn note_content(&mut self, number: u16) {
        if self.sending.last() != Some(&number) {
            self.sending.push(number);
        }
        if self.owing.last() != Some(&number) && self.channel(number).is_some_and(|c| c.owes_confirms()) {
            self.owing.push(number);
        }
    }

    fn confirm(&mut self, op: &mut Operation<'_>) {
        let mut owing = std::mem::take(&mut self.owing);
        for number in owing.drain(..) {
            if let Some(channel) = self.channel(number) {
                channel.confirm(op);
            }
        }
        self.owing = owing;
    }
}
