//! The output of each connection. The holder of the virtual host's lock writes frames straight into
//! the outbox of any connection; the connection's own task takes the whole outbox and writes it
//! with one system call.

use std::{collections::VecDeque, io::IoSlice, mem, task::Waker};

use amqp_codec::{
    Arguments, Error, ReplyCode, ShortString,
    content::body_frame_sizes,
    frame::{FRAME_END, HEARTBEAT, encode_method, put_body_frame_header},
    method::basic,
};
use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::core::{
    content::message::{Parts, SMALL_BODY},
    effects::sink::{Delivery, Sink},
    entities::ids::ConnectionId,
    rabbitmq::refusal::Refusal,
};

use super::command::Command;

/// While this many bytes wait, nothing more is delivered to a connection. One message may exceed
/// it.
const ENOUGH: usize = 1 << 20;

/// Direct replies that would exceed this many bytes are dropped, because no queue holds them.
const MOST_REPLIES: usize = 64 << 20;

/// The memory that an empty outbox keeps; the rest that a burst needed is freed.
const KEPT: usize = 256 << 10;

/// The ids of the methods with content.
const DELIVER: [u8; 4] = basic::Deliver::ID.octets();
const GET_OK: [u8; 4] = basic::GetOk::ID.octets();
const RETURN: [u8; 4] = basic::Return::ID.octets();

/// Frames for one connection.
#[derive(Debug)]
pub(crate) struct Outbox {
    /// The connection's name in the log.
    name: String,
    frame_max: usize,
    batch: OutputBatch,
    /// The waker of the connection's task, while it waits for output.
    waker: Option<Waker>,
    /// The broker's commands to the connection.
    commands: VecDeque<Command>,
    /// How many bytes were last taken to be written, and how much memory they are in.
    writing: usize,
    writing_in: usize,
    /// Set when it has changed since it was last weighed.
    is_touched: bool,
}

/// Bytes in order, with large bodies between them by reference.
#[derive(Debug, Default)]
pub(crate) struct OutputBatch {
    bytes: BytesMut,
    /// How many octets of `bytes` are written.
    written: usize,
    /// The large parts, each with the offset in `bytes` before which it belongs.
    large: VecDeque<(usize, Bytes)>,
    large_len: usize,
}

impl OutputBatch {
    pub(crate) fn is_empty(&self) -> bool {
        self.written == self.bytes.len() && self.large.is_empty()
    }

    /// How many bytes are not written yet.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - self.written + self.large_len
    }

    /// How many bytes of memory it takes.
    fn capacity(&self) -> usize {
        self.bytes.capacity() + self.large_len
    }

    /// Puts the octets to be written next into as many slices as fit, in order; returns the number
    /// of slices.
    pub(crate) fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut at = self.written;
        let mut count = 0;
        let mut put = |bytes: &'a [u8]| match slices.get_mut(count) {
            Some(slice) if !bytes.is_empty() => {
                *slice = IoSlice::new(bytes);
                count += 1;
                true
            }
            Some(_) => true,
            None => false,
        };
        for (place, part) in &self.large {
            if !put(self.bytes.get(at..*place).unwrap_or_default()) || !put(part) {
                return count;
            }
            at = *place;
        }
        put(self.bytes.get(at..).unwrap_or_default());
        count
    }

    /// Marks octets as written.
    pub(crate) fn advance(&mut self, mut count: usize) {
        while count > 0 {
            let place = self.large.front().map_or(self.bytes.len(), |(place, _)| *place);
            let copied = (place - self.written).min(count);
            self.written += copied;
            count -= copied;
            let Some((_, part)) = self.large.front_mut().filter(|_| self.written == place) else { break };
            let shared = part.len().min(count);
            part.advance(shared);
            self.large_len -= shared;
            count -= shared;
            if part.is_empty() {
                self.large.pop_front();
            }
        }
        if self.is_empty() {
            self.clear();
        }
    }

    /// Empties it; a moderate amount of memory is kept.
    fn clear(&mut self) {
        if self.bytes.capacity() > KEPT {
            self.bytes = BytesMut::new();
        }
        self.bytes.clear();
        self.written = 0;
        self.large.clear();
        self.large_len = 0;
    }

    fn put_large(&mut self, part: Bytes) {
        self.large_len += part.len();
        self.large.push_back((self.bytes.len(), part));
    }
}

impl Outbox {
    pub(crate) fn new(name: String, frame_max: usize) -> Self {
        let (waker, commands) = (None, VecDeque::new());
        Outbox {
            name,
            frame_max,
            batch: OutputBatch::default(),
            waker,
            commands,
            writing: 0,
            writing_in: 0,
            is_touched: false,
        }
    }

    /// How many bytes wait.
    pub(crate) fn len(&self) -> usize {
        self.batch.len()
    }

    /// Takes the broker's next command to the connection.
    #[inline]
    pub(crate) fn next_command(&mut self) -> Option<Command> {
        self.commands.pop_front()
    }

    /// Swaps its contents with an empty batch, whose memory is reused; when there is nothing to
    /// take, it keeps the waker.
    pub(crate) fn take(&mut self, empty: &mut OutputBatch, waker: &Waker) -> bool {
        (self.writing, self.writing_in) = (0, empty.capacity());
        if self.batch.is_empty() {
            self.wakes(waker);
            return false;
        }
        mem::swap(&mut self.batch, empty);
        (self.writing, self.writing_in) = (empty.len(), empty.capacity());
        true
    }

    /// Keeps the waker, whatever there is to write.
    pub(crate) fn wakes(&mut self, waker: &Waker) {
        if !self.waker.as_ref().is_some_and(|kept| kept.will_wake(waker)) {
            self.waker = Some(waker.clone());
        }
    }

    /// Appends a method.
    pub(crate) fn method<A: Arguments>(&mut self, channel: u16, method: &A) {
        // No method of the broker comes near the smallest frame_max, except one with a table of the
        // broker's own.
        if let Err(error) = encode_method(channel, method, self.frame_max, &mut self.batch.bytes) {
            self.not_encoded::<A>(channel, &error);
        }
    }

    /// Encodes a method to be sent later.
    pub(crate) fn encoded<A: Arguments>(&self, channel: u16, method: &A) -> Bytes {
        let mut frame = BytesMut::new();
        if let Err(error) = encode_method(channel, method, self.frame_max, &mut frame) {
            self.not_encoded::<A>(channel, &error);
        }
        frame.freeze()
    }

    fn not_encoded<A: Arguments>(&self, channel: u16, error: &Error) {
        let (connection, method) = (&self.name, A::NAME);
        tracing::error!(connection, channel, method, %error, "a method could not be encoded");
    }

    /// Appends an encoded frame.
    pub(crate) fn frame(&mut self, frame: &[u8]) {
        self.batch.bytes.put_slice(frame);
    }

    pub(crate) fn heartbeat(&mut self) {
        self.batch.bytes.put_slice(&HEARTBEAT);
    }

    #[inline]
    pub(crate) fn deliver(&mut self, delivery: &Delivery<'_>) {
        let Delivery { channel, consumer_tag, tag, redelivered, parts } = *delivery;
        let size = 4 + 1 + consumer_tag.len() + 8 + 1 + parts.route.len();
        let out = &mut self.batch.bytes;
        out.reserve(size + parts.header.len() + parts.small.len() + 3 * 8);
        let [c1, c0] = channel.to_be_bytes();
        let [_, _, s1, s0] = (size as u32).to_be_bytes();
        let [k3, k2, k1, k0] = DELIVER;
        out.put_slice(&[1, c1, c0, 0, 0, s1, s0, k3, k2, k1, k0, consumer_tag.len() as u8]);
        out.put_slice(consumer_tag.as_bytes());
        put_tag(tag, redelivered, out);
        out.put_slice(parts.route);
        self.content(channel, parts);
    }

    pub(crate) fn get_ok(&mut self, channel: u16, tag: u64, redelivered: bool, parts: Parts<'_>, left: u32) {
        self.start_method(channel, GET_OK, 9 + parts.route.len() + 4);
        put_tag(tag, redelivered, &mut self.batch.bytes);
        self.batch.bytes.put_slice(parts.route);
        self.batch.bytes.put_u32(left);
        self.content(channel, parts);
    }

    pub(crate) fn returned(&mut self, channel: u16, code: u16, text: &str, parts: Parts<'_>) {
        self.start_method(channel, RETURN, 2 + 1 + text.len() + parts.route.len());
        let out = &mut self.batch.bytes;
        out.put_u16(code);
        out.put_u8(text.len() as u8);
        out.put_slice(text.as_bytes());
        out.put_slice(parts.route);
        self.content(channel, parts);
    }

    /// Appends the beginning of a method frame with so many bytes of arguments.
    fn start_method(&mut self, channel: u16, id: [u8; 4], arguments: usize) {
        let out = &mut self.batch.bytes;
        out.put_u8(1);
        out.put_u16(channel);
        out.put_u32((4 + arguments) as u32);
        out.put_slice(&id);
    }

    /// Ends the method frame, and appends content header and body.
    #[inline]
    fn content(&mut self, channel: u16, parts: Parts<'_>) {
        let out = &mut self.batch.bytes;
        let [c1, c0] = channel.to_be_bytes();
        let [s3, s2, s1, s0] = (parts.header.len() as u32).to_be_bytes();
        out.put_slice(&[FRAME_END, 2, c1, c0, s3, s2, s1, s0]);
        out.put_slice(parts.header);
        out.put_u8(FRAME_END);
        if !parts.large.is_empty() {
            self.large_body(channel, parts.large);
        } else if parts.small.len() + 8 <= self.frame_max && !parts.small.is_empty() {
            put_body_frame_header(channel, parts.small.len() as u32, out);
            out.put_slice(parts.small);
            out.put_u8(FRAME_END);
        } else {
            self.small_body(channel, parts.small);
        }
    }

    /// Appends a small body by copying it, in as many frames as it needs.
    fn small_body(&mut self, channel: u16, mut body: &[u8]) {
        for size in body_frame_sizes(body.len(), self.frame_max) {
            let (frame, rest) = body.split_at_checked(size).unwrap_or_default();
            put_body_frame_header(channel, size as u32, &mut self.batch.bytes);
            self.batch.bytes.put_slice(frame);
            self.batch.bytes.put_u8(FRAME_END);
            body = rest;
        }
    }

    /// Appends a large body by reference; its parts are cut where this connection's frames end.
    fn large_body(&mut self, channel: u16, parts: &[Bytes]) {
        let length = parts.iter().map(Bytes::len).sum();
        let mut parts = parts.iter().cloned();
        let mut part = Bytes::new();
        for size in body_frame_sizes(length, self.frame_max) {
            put_body_frame_header(channel, size as u32, &mut self.batch.bytes);
            let mut left = size;
            while left > 0 {
                if part.is_empty() {
                    let Some(next) = parts.next() else { break };
                    part = next;
                }
                let piece = part.split_to(part.len().min(left));
                left -= piece.len();
                if piece.len() <= SMALL_BODY {
                    self.batch.bytes.put_slice(&piece);
                } else {
                    self.batch.put_large(piece);
                }
            }
            self.batch.bytes.put_u8(FRAME_END);
        }
    }
}

#[inline]
fn put_tag(tag: u64, redelivered: bool, out: &mut BytesMut) {
    let [b7, b6, b5, b4, b3, b2, b1, b0] = tag.to_be_bytes();
    out.put_slice(&[b7, b6, b5, b4, b3, b2, b1, b0, u8::from(redelivered)]);
}

/// The outboxes of all connections of a virtual host.
#[derive(Debug)]
pub(crate) struct Outboxes {
    /// The outboxes, by the slot of the connection's id, which is unique among the living.
    slots: Vec<Option<Outbox>>,
    /// The tasks to wake once the lock is released.
    to_wake: Vec<Waker>,
    /// The outboxes that may have changed since they were last weighed.
    touched: Vec<ConnectionId>,
    /// Direct replies that would exceed this many bytes are dropped, because no queue holds them.
    most_replies: Option<usize>,
    /// Whether memory is short, so that a reply over the limit is dropped even if nothing else
    /// waits.
    is_short: bool,
    /// While this many bytes wait, nothing more is delivered to a connection.
    enough: usize,
}

impl Default for Outboxes {
    fn default() -> Self {
        Outboxes {
            slots: Vec::new(),
            to_wake: Vec::new(),
            touched: Vec::new(),
            most_replies: None,
            is_short: false,
            enough: ENOUGH,
        }
    }
}

impl Outboxes {
    pub(crate) fn open(&mut self, id: ConnectionId, outbox: Outbox) {
        if self.slots.len() <= id.index() {
            self.slots.resize_with(id.index() + 1, || None);
        }
        if let Some(slot) = self.slots.get_mut(id.index()) {
            *slot = Some(outbox);
        }
    }

    pub(crate) fn close(&mut self, id: ConnectionId) {
        if let Some(slot) = self.slots.get_mut(id.index()) {
            *slot = None;
        }
    }

    /// A connection's outbox for writing; its task is woken when the lock is released.
    #[inline]
    pub(crate) fn of(&mut self, id: ConnectionId) -> Option<&mut Outbox> {
        let outbox = self.slots.get_mut(id.index())?.as_mut()?;
        self.to_wake.extend(outbox.waker.take());
        if !mem::replace(&mut outbox.is_touched, true) {
            self.touched.push(id);
        }
        Some(outbox)
    }

    /// A connection's outbox, without waking its task.
    pub(crate) fn peek(&mut self, id: ConnectionId) -> Option<&mut Outbox> {
        self.slots.get_mut(id.index())?.as_mut()
    }

    /// Takes the output of a connection; see [`Outbox::take`].
    pub(crate) fn take(&mut self, id: ConnectionId, empty: &mut OutputBatch, waker: &Waker) -> bool {
        let Some(outbox) = self.slots.get_mut(id.index()).and_then(Option::as_mut) else { return false };
        if !mem::replace(&mut outbox.is_touched, true) {
            self.touched.push(id);
        }
        outbox.take(empty, waker)
    }

    /// The next outbox that may have changed since it was last weighed: how many bytes wait in it
    /// or are being written, and how much more memory it has allocated.
    #[inline]
    pub(crate) fn next_weighed(&mut self) -> Option<(ConnectionId, u64, u64)> {
        let id = self.touched.pop()?;
        let Some(outbox) = self.slots.get_mut(id.index()).and_then(Option::as_mut) else {
            return Some((id, 0, 0));
        };
        outbox.is_touched = false;
        let bytes = outbox.batch.len() + outbox.writing;
        let memory = outbox.batch.capacity() + outbox.writing_in;
        Some((id, bytes as u64, memory.saturating_sub(bytes) as u64))
    }

    /// Drops direct replies that would make the unread output exceed this many bytes.
    ///
    /// A reply that alone exceeds the limit is dropped if memory `is_short`; otherwise it is sent
    /// if nothing else waits.
    pub(crate) fn limit_replies(&mut self, most: u64, is_short: bool) {
        self.most_replies = usize::try_from(most).ok();
        self.is_short = is_short;
    }

    /// Delivers nothing more to connections with this many bytes to read; `None` restores the usual
    /// limit.
    pub(crate) fn limit_deliveries(&mut self, most: Option<u64>) {
        self.enough = most.and_then(|most| usize::try_from(most).ok()).unwrap_or(ENOUGH).min(ENOUGH);
    }

    /// Appends a method for a connection.
    pub(crate) fn send<A: Arguments>(&mut self, to: ConnectionId, channel: u16, method: &A) {
        if let Some(outbox) = self.of(to) {
            outbox.method(channel, method);
        }
    }

    /// Encodes a method to be sent to a connection later; it is empty if the connection is gone.
    pub(crate) fn encoded<A: Arguments>(&mut self, to: ConnectionId, channel: u16, method: &A) -> Bytes {
        self.peek(to).map(|outbox| outbox.encoded(channel, method)).unwrap_or_default()
    }

    /// Moves the wakers of the tasks to wake into `woken`.
    pub(crate) fn take_woken(&mut self, woken: &mut Vec<Waker>) {
        woken.append(&mut self.to_wake);
    }
}

impl Sink for Outboxes {
    #[inline]
    fn deliver(&mut self, to: ConnectionId, delivery: Delivery<'_>) -> bool {
        let enough = self.enough;
        let Some(outbox) = self.of(to) else { return false };
        outbox.deliver(&delivery);
        outbox.len() < enough
    }

    fn reply(&mut self, to: ConnectionId, delivery: Delivery<'_>) -> bool {
        let most = self.most_replies.unwrap_or(MOST_REPLIES).min(MOST_REPLIES);
        let is_short = self.is_short;
        let size = usize::try_from(delivery.parts.weight()).unwrap_or(usize::MAX);
        let Some(outbox) = self.of(to) else { return false };
        let unread = outbox.len() + outbox.writing;
        let has_room = unread.saturating_add(size) <= most || (unread == 0 && !is_short);
        if has_room {
            outbox.deliver(&delivery);
        }
        has_room
    }

    fn close_channel(&mut self, to: ConnectionId, channel: u16, why: &Refusal) {
        if let Some(outbox) = self.of(to) {
            let (code, text) = (why.code(), why.reply_text());
            outbox.commands.push_back(Command::CloseChannel { number: channel, code, text });
        }
    }

    fn cancel(&mut self, to: ConnectionId, channel: u16, consumer_tag: &ShortString) {
        let cancel = basic::Cancel { consumer_tag: consumer_tag.clone(), no_wait: true };
        self.send(to, channel, &cancel);
    }

    fn return_unroutable(&mut self, to: ConnectionId, channel: u16, parts: Parts<'_>) {
        if let Some(outbox) = self.of(to) {
            outbox.returned(channel, ReplyCode::NO_ROUTE.0, "NO_ROUTE", parts);
        }
    }

    fn wake(&mut self, id: ConnectionId) {
        self.of(id);
    }
}

/// The receiver of the effects of a deletion. A channel that consumed from the queue that it
/// deletes is sent the answer before the cancel, as by RabbitMQ: some clients stop reading at the
/// answer.
pub(crate) struct OwnCancelsLater<'a> {
    pub(crate) outboxes: &'a mut Outboxes,
    /// The channel that deletes.
    pub(crate) own: (ConnectionId, u16),
    /// The tags of its consumers that have ended.
    pub(crate) tags: &'a mut Vec<ShortString>,
}

impl Sink for OwnCancelsLater<'_> {
    fn deliver(&mut self, to: ConnectionId, delivery: Delivery<'_>) -> bool {
        self.outboxes.deliver(to, delivery)
    }

    fn reply(&mut self, to: ConnectionId, delivery: Delivery<'_>) -> bool {
        self.outboxes.reply(to, delivery)
    }

    fn close_channel(&mut self, to: ConnectionId, channel: u16, why: &Refusal) {
        self.outboxes.close_channel(to, channel, why);
    }

    fn cancel(&mut self, to: ConnectionId, channel: u16, consumer_tag: &ShortString) {
        if (to, channel) == self.own {
            self.tags.push(consumer_tag.clone());
        } else {
            self.outboxes.cancel(to, channel, consumer_tag);
        }
    }

    fn return_unroutable(&mut self, to: ConnectionId, channel: u16, parts: Parts<'_>) {
        self.outboxes.return_unroutable(to, channel, parts);
    }

    fn wake(&mut self, id: ConnectionId) {
        self.outboxes.wake(id);
    }
}

#[cfg(test)]
mod tests {
    use amqp_codec::{Frame, RawFrame};

    use super::*;
    use crate::core::content::message::Draft;

    /// The octets of a batch, written in pieces of at most `most` bytes.
    fn written(batch: &mut OutputBatch, most: usize) -> BytesMut {
        let mut out = BytesMut::new();
        while !batch.is_empty() {
            let mut slices = [IoSlice::new(&[]); 3];
            let count = batch.slices(&mut slices);
            let mut left = most;
            for slice in &slices[..count] {
                let end = slice.len().min(left);
                out.extend_from_slice(&slice[..end]);
                left -= end;
            }
            batch.advance(most - left);
        }
        out
    }

    fn body_of(mut wire: BytesMut, frame_max: usize) -> Vec<u8> {
        let mut body = Vec::new();
        while let Some(raw) = RawFrame::split_from(&mut wire, frame_max).unwrap() {
            if let Frame::Body(_, part) = raw.decode().unwrap() {
                body.extend_from_slice(&part);
            }
        }
        assert!(wire.is_empty());
        body
    }

    #[test]
    fn a_large_body_is_cut_at_this_connections_frame_max_and_written_in_any_pieces() {
        let body: Vec<u8> = (0..30_000u32).map(|n| n as u8).collect();
        let mut draft = Draft::default();
        draft.start(b"e", b"k");
        draft.header(&[0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0x75, 0x30, 0, 0]);
        draft.large(vec![Bytes::copy_from_slice(&body[..20_001]), Bytes::copy_from_slice(&body[20_001..])]);
        for most in [1, 999, 5000, 1 << 20] {
            let mut outbox = Outbox::new("test".to_owned(), 8192);
            let tag = ShortString::from_static("ctag");
            outbox.deliver(&Delivery {
                channel: 1,
                consumer_tag: &tag,
                tag: 1,
                redelivered: false,
                parts: draft.parts(),
            });
            let length = outbox.len();
            let wire = written(&mut outbox.batch, most);
            assert_eq!(wire.len(), length);
            assert_eq!(outbox.len(), 0);
            assert_eq!(body_of(wire, 8192), body);
        }
    }
}
