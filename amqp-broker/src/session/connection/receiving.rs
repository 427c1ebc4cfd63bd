//! The frames of a read, handed to the channels.

use amqp_codec::{
    FrameHeader, FrameKind, Frames, MethodId,
    method::{Arguments as _, basic, channel, connection},
};
use bytes::{Buf, BytesMut};

use super::{ConnectionSession, Failure, Phase, Wants};
use crate::{
    core::rabbitmq::refusal::Refusal,
    session::{
        farewell::CLOSE_OK,
        frames::bad_frame::{LENIENCY, bad_frame, octets, out_of_place},
        incoming::{GATHERED, METHOD_EXPECTED, Part},
        shared::{Operation, Shared},
    },
};

/// While more bytes than this wait to be written, nothing is read, because answers have to wait
/// somewhere. Deliveries stop far below, so a slow consumer is still read.
const TOO_MUCH_TO_WRITE: usize = 8 << 20;

impl ConnectionSession {
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
                Err(error) => match bad_frame(&error, unread, self.terms.frame_max) {
                    Some(refusal) => {
                        self.fail_frame(op, &refusal);
                        continue;
                    }
                    None => break Wants::Input,
                },
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
            Ok(()) => self.note_content(number),
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
}
