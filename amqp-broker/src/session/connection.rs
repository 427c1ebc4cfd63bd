//! An open connection: it walks over the frames of each read and hands them to its channels.

mod commands;
mod pausing;
mod weight;

use amqp_codec::{
    FrameHeader, FrameKind, Frames, Method, MethodId, ReplyCode, ShortString,
    borrowed::Publish,
    method::{Arguments, basic, channel, connection},
};
use bytes::{Buf, Bytes, BytesMut};

use crate::{
    core::{entities::ids::ConnectionId, rabbitmq::refusal::Refusal, work::Work},
    shown::shown,
};

use super::{
    channel::{ChannelSession, ClientName},
    farewell::CLOSE_OK,
    frames::{
        bad_frame::{LENIENCY, bad_frame, octets, out_of_place},
        settling::settlement,
    },
    incoming::{GATHERED, METHOD_EXPECTED, Part, blamed},
    paused::{Paused, Then},
    shared::{Operation, Shared},
};

/// While more bytes than this wait to be written, nothing is read, because answers have to wait
/// somewhere. Deliveries stop far below, so a slow consumer is still read.
const TOO_MUCH_TO_WRITE: usize = 8 << 20;

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

    /// Takes the work that remains when the client is gone.
    pub(crate) fn take_work(&mut self, shared: &mut Shared) -> Work {
        let left =
            Work::Remove(Box::new(shared.vhost.disconnect(self.id).with_publishes(self.take_publishes())));
        match self.paused.take() {
            None => left,
            // The commit needs nothing more of its channel, which is removed without waiting for
            // the other transactions.
            Some(paused) if shared.vhost.waits(&paused.work) => {
                shared.vhost.abandon(paused.into_work());
                left
            }
            Some(paused) => Work::InOrder([paused.into_work(), left].into()),
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

    /// Processes the whole frames at the front of `input`, and removes them.
    pub(crate) fn receive(&mut self, now: u64, shared: &mut Shared, input: &mut BytesMut) -> Wants {
        self.apply_all(now, shared);
        let max_message_size = self.terms.max_message_size;
        let mut op = Operation { now, shared, by: self.id, max_message_size, paused: None, unpublished: 0 };
        let wants = if self.go_on(&mut op) { self.walk(&mut op, input) } else { self.next_turn(op.shared) };
        self.confirm(&mut op);
        self.weigh(&mut op, input, wants);
        if wants == Wants::Input && self.phase == Phase::Running && op.shared.is_over_share(self.id) {
            op.shared.wait_for_room(self.id);
            return Wants::Room;
        }
        wants
    }

    fn walk(&mut self, op: &mut Operation<'_>, input: &mut BytesMut) -> Wants {
        let mut at = 0;
        let wants = loop {
            match self.phase {
                Phase::Finished | Phase::Left => break Wants::End,
                Phase::Deaf => {
                    // After a close for malformed frames only the client's answer at the very end
                    // is recognised.
                    if input.ends_with(&CLOSE_OK) {
                        self.phase = Phase::Finished;
                    }
                    input.clear();
                    return if self.phase == Phase::Finished { Wants::End } else { Wants::Input };
                }
                Phase::Running | Phase::Leaving | Phase::Closing => {}
            }
            // The next frame is looked at where it lies in the buffer.
            let unread = input.get(at..).unwrap_or_default();
            let frame = match Frames::new(unread, self.terms.frame_max + LENIENCY).next_frame() {
                Ok(Some(frame)) => frame,
                Ok(None) => break Wants::Input,
                Err(error) => {
                    self.fail_frame(op, &bad_frame(&error, unread, self.terms.frame_max));
                    continue;
                }
            };
            let header = frame.header();
            // A large body part shares the buffer; everything else is processed in place.
            if frame.kind == FrameKind::Body && frame.payload.len() > GATHERED {
                let payload = frame.payload_range();
                input.advance(at);
                at = 0;
                let frame = input.split_to(header.frame_len()).freeze();
                self.body(op, header, Part::Shared(frame.slice(payload)));
            } else {
                if let Some(change) = self.waits_for(op, header, frame.payload) {
                    break Wants::Disk(change);
                }
                self.frame(op, header, frame.payload);
                if std::mem::take(&mut self.is_to_repeat) {
                    break Wants::Turn;
                }
                at += header.frame_len();
            }
            // After each frame the connection checks whether anything keeps it from the next one.
            op.shared.vhost.budget.spend(1);
            if op.paused.is_some() {
                self.paused = op.paused.take();
                break Wants::Turn;
            }
            if op.shared.outboxes.peek(self.id).is_none_or(|outbox| outbox.len() > TOO_MUCH_TO_WRITE) {
                break Wants::Output;
            }
            if self.is_held_back && self.phase == Phase::Running {
                if op.shared.alarm.is_on() {
                    break Wants::Relief;
                }
                self.is_held_back = false;
            }
            // Methods are counted at the end of the turn.
            if header.kind != FrameKind::Method && op.shared.has_memory_changed() {
                op.shared.look_at_memory(op.now);
            }
            if op.shared.vhost.budget.is_over() {
                break Wants::Turn;
            }
        };
        input.advance(at);
        wants
    }

    /// The change that must be on disk before this frame is processed, so that its answer overtakes
    /// no other.
    #[inline]
    fn waits_for(&self, op: &Operation<'_>, header: FrameHeader, payload: &[u8]) -> Option<u64> {
        if op.shared.pending_answers.is_empty()
            || header.kind != FrameKind::Method
            || self.phase != Phase::Running
        {
            return None;
        }
        let channels = || self.channels.iter().flatten();
        let change = match MethodId::peek(payload)? {
            // These are answered at once.
            basic::Consume::ID | basic::Get::ID | channel::Close::ID => {
                self.channels.get(usize::from(header.channel))?.as_ref()?.answered()
            }
            connection::Close::ID => channels().map(|channel| channel.answered()).max()?,
            _ => return None,
        };
        (!op.shared.pending_answers.is_on_disk(change)).then_some(change)
    }

    #[inline]
    fn frame(&mut self, op: &mut Operation<'_>, header: FrameHeader, payload: &[u8]) {
        match header.kind {
            FrameKind::Method => self.method(op, header.channel, payload),
            FrameKind::Header => {
                let result = match self.channel(header.channel) {
                    Some(channel) => channel.header(op, payload),
                    None => self.no_content(header, payload),
                };
                self.published(op, header.channel, result);
            }
            FrameKind::Body => self.body(op, header, Part::Borrowed(payload)),
            // A heartbeat needs no further handling.
            FrameKind::Heartbeat if header.channel == 0 && payload.is_empty() => {}
            FrameKind::Heartbeat => {
                let refusal = match payload {
                    [] => out_of_place(header, payload),
                    // It is not the heartbeat of section 4.2.7.
                    _ => Refusal::Frame(format!("type 8, {}: unknown_frame", octets(header, payload))),
                };
                self.fail(op, 0, Failure { refusal, method: MethodId::default() });
            }
        }
    }

    #[inline]
    fn body(&mut self, op: &mut Operation<'_>, header: FrameHeader, part: Part<'_>) {
        let result = match self.channel(header.channel) {
            Some(channel) => channel.body(op, part),
            None => self.no_content(header, part.as_slice()),
        };
        self.published(op, header.channel, result);
    }

    /// Refuses content on a channel that is not open, unless the channel or the connection is
    /// closing.
    fn no_content(&self, header: FrameHeader, payload: &[u8]) -> Result<(), Refusal> {
        match header.channel {
            number if self.is_closing() || self.is_ignored(number) => Ok(()),
            0 => Err(out_of_place(header, payload)),
            _ => Err(METHOD_EXPECTED),
        }
    }

    #[inline]
    fn published(&mut self, op: &mut Operation<'_>, number: u16, result: Result<(), Refusal>) {
        match result {
            Ok(()) => {
                if self.sending.last() != Some(&number) {
                    self.sending.push(number);
                }
                if self.owing.last() != Some(&number)
                    && self.channel(number).is_some_and(|c| c.owes_confirms())
                {
                    self.owing.push(number);
                }
            }
            Err(refusal) => {
                let method = if number == 0 { MethodId::default() } else { basic::Publish::ID };
                self.fail(op, number, Failure { refusal, method });
            }
        }
    }

    #[inline]
    fn method(&mut self, op: &mut Operation<'_>, number: u16, payload: &[u8]) {
        let result = match number {
            0 => self.connection_method(op, payload),
            _ => self.channel_method(op, number, payload),
        };
        if let Err(failure) = result {
            self.fail(op, number, failure);
        }
    }

    #[inline]
    fn channel_method(&mut self, op: &mut Operation<'_>, number: u16, payload: &[u8]) -> Result<(), Failure> {
        if let Some(channel) = self.channel(number) {
            // Frequent methods are decoded without the table of methods.
            if let Some(publish) = Publish::decode(payload).map_err(unreadable)? {
                channel.publish(&publish).map_err(by(basic::Publish::ID))?;
                if op.shared.alarm.is_on() {
                    self.hold(op);
                }
                return Ok(());
            }
            if let Some((settlement, method)) = settlement(payload).map_err(unreadable)? {
                return channel.settle(op, settlement).map_err(by(method));
            }
        }
        let method = Method::decode(&Bytes::copy_from_slice(payload)).map_err(unreadable)?;
        let id = method.id();
        if self.is_closing() {
            return Ok(());
        }
        match method {
            Method::Channel(channel::Method::Open(_)) => self.open_channel(op, number).map_err(by(id)),
            Method::Channel(channel::Method::Close(_)) if self.has_channel(number) => {
                let answer = op.shared.outboxes.encoded(self.id, number, &channel::CloseOk {});
                // If both sides close, the number is free once the client has answered the broker's
                // close.
                if self.is_ignored(number) {
                    op.shared.outboxes.send(self.id, number, &channel::CloseOk {});
                } else if let Some(work) = self.close_channel(op, number) {
                    self.run(op, Paused { number, method: id, work, then: Then::Say(Some(answer)) });
                }
                Ok(())
            }
            Method::Channel(channel::Method::CloseOk(_)) if self.is_ignored(number) => {
                if let Some(work) = self.close_channel(op, number) {
                    self.leave_behind(op, number, work);
                }
                Ok(())
            }
            _ if self.is_ignored(number) => Ok(()),
            method => match self.channel(number) {
                Some(channel) => channel.method(op, method).map_err(by(id)),
                None => {
                    Err(Failure { refusal: Refusal::ChannelError("expected 'channel.open'"), method: id })
                }
            },
        }
    }

    /// Holds the connection back, because it has published during an alarm: it is not read until
    /// the alarm ends.
    #[cold]
    fn hold(&mut self, op: &mut Operation<'_>) {
        if !std::mem::replace(&mut self.is_held_back, true) {
            let told = self.terms.blocked_notify && op.shared.alarm.is_told();
            if told {
                let reason = op.shared.alarm.reason();
                op.shared.outboxes.send(self.id, 0, &connection::Blocked { reason });
            }
            op.shared.alarm.hold(self.id, told);
        }
    }

    fn open_channel(&mut self, op: &mut Operation<'_>, number: u16) -> Result<(), Refusal> {
        let index = usize::from(number);
        if self.has_channel(number) {
            return Err(Refusal::ChannelError("second 'channel.open' seen"));
        }
        // RabbitMQ takes channel_max as the limit of the number of channels, not of their numbers.
        if self.open_channels >= usize::from(self.terms.channel_max) {
            return Err(Refusal::TooManyChannels(self.terms.channel_max));
        }
        if self.channels.len() <= index {
            self.channels.resize_with(index + 1, || None);
        }
        let key = op.shared.vhost.open_channel(self.id, number);
        if let Some(slot) = self.channels.get_mut(index) {
            *slot = Some(Box::new(ChannelSession::new(number, key, self.terms.client_name.clone())));
            self.open_channels += 1;
        }
        op.shared.outboxes.send(self.id, number, &channel::OpenOk::default());
        Ok(())
    }

    fn close_channel(&mut self, op: &mut Operation<'_>, number: u16) -> Option<Work> {
        let mut channel = self.channels.get_mut(usize::from(number)).and_then(Option::take)?;
        self.open_channels -= 1;
        // Earlier publishes are confirmed first.
        channel.confirm(op);
        Some(channel.end(op))
    }

    fn connection_method(&mut self, op: &mut Operation<'_>, payload: &[u8]) -> Result<(), Failure> {
        let method = Method::decode(&Bytes::copy_from_slice(payload)).map_err(unreadable)?;
        match method {
            // The client's close crosses ours, whose answer is still to come.
            Method::Connection(connection::Method::Close(_)) if self.is_closing() => {
                op.shared.outboxes.send(self.id, 0, &connection::CloseOk {});
            }
            Method::Connection(connection::Method::Close(close)) => {
                self.why = Some(format!("the client closed it: {} {}", close.reply_code, close.reply_text));
                self.confirm(op);
                self.phase = Phase::Leaving;
                let work = Work::Remove(Box::new(
                    op.shared.vhost.leave(self.id).with_publishes(self.take_publishes()),
                ));
                self.run(op, Paused { number: 0, method: connection::Close::ID, work, then: Then::Close });
            }
            Method::Connection(connection::Method::CloseOk(_)) if self.is_closing() => {
                self.phase = Phase::Finished;
            }
            _ if self.is_closing() => {}
            Method::Connection(connection::Method::UpdateSecret(_)) => {
                op.shared.outboxes.send(self.id, 0, &connection::UpdateSecretOk {});
            }
            other => {
                let refusal = Refusal::ChannelError("unexpected method in connection state running");
                return Err(Failure { refusal, method: other.id() });
            }
        }
        Ok(())
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

    fn confirm(&mut self, op: &mut Operation<'_>) {
        let mut owing = std::mem::take(&mut self.owing);
        for number in owing.drain(..) {
            if let Some(channel) = self.channel(number) {
                channel.confirm(op);
            }
        }
        self.owing = owing;
    }

    fn fail(&mut self, op: &mut Operation<'_>, number: u16, failure: Failure) {
        let Failure { refusal, method } = failure;
        if refusal == Refusal::NotYet {
            self.is_to_repeat = true;
            return;
        }
        if self.is_closing() {
            return;
        }
        if let Refusal::Injected(fault) = refusal {
            return self.inject(op, number, fault);
        }
        let method = blamed(&refusal).unwrap_or(method);
        if refusal.closes_connection() || number == 0 {
            self.close(op, &refusal, method);
            return;
        }
        let connection = &self.terms.name;
        tracing::debug!(connection, channel = number, error = shown(&refusal), "channel closed");
        self.end_channel(op, number, refusal.code(), refusal.reply_text(), method);
    }

    /// Closes a channel, after confirming earlier publishes.
    fn end_channel(
        &mut self,
        op: &mut Operation<'_>,
        number: u16,
        code: ReplyCode,
        text: ShortString,
        method: MethodId,
    ) {
        let Some(channel) = self.channel(number) else { return };
        channel.confirm(op);
        let work = channel.end(op);
        self.leave_behind(op, number, work);
        let MethodId { class_id, method_id } = method;
        let close = channel::Close { reply_code: code.0, reply_text: text, class_id, method_id };
        op.shared.outboxes.send(op.by, number, &close);
    }

    /// Closes the connection because of malformed frames; nothing more can be parsed.
    fn fail_frame(&mut self, op: &mut Operation<'_>, refusal: &Refusal) {
        if self.phase == Phase::Running {
            self.close(op, refusal, MethodId::default());
        }
        self.phase = Phase::Deaf;
    }

    fn close(&mut self, op: &mut Operation<'_>, refusal: &Refusal, method: MethodId) {
        self.close_with(op, refusal.code(), refusal.reply_text(), method);
    }

    fn close_with(&mut self, op: &mut Operation<'_>, code: ReplyCode, text: ShortString, method: MethodId) {
        self.why = Some(format!("the broker closed it: {} {text}", code.0));
        self.confirm(op);
        let work =
            Work::Remove(Box::new(op.shared.vhost.leave(self.id).with_publishes(self.take_publishes())));
        self.leave_behind(op, 0, work);
        let MethodId { class_id, method_id } = method;
        let close = connection::Close { reply_code: code.0, reply_text: text, class_id, method_id };
        op.shared.outboxes.send(self.id, 0, &close);
        // Content that was begun on them will not be completed.
        self.channels = Vec::new();
        self.unpublished = 0;
        op.unpublished = 0;
        op.shared.holdings.received(self.id, 0, 0);
        self.phase = Phase::Closing;
    }
}

fn by(method: MethodId) -> impl Fn(Refusal) -> Failure {
    move |refusal| Failure { refusal, method }
}

fn unreadable(error: amqp_codec::Error) -> Failure {
    Failure { refusal: Refusal::Syntax(error), method: MethodId::default() }
}
