//! One channel: its calls in order, the content under way, its consumers, confirms and acks.

use std::{
    collections::{HashMap, VecDeque},
    ops::Range,
    sync::Arc,
    task::Waker,
    time::{Duration, Instant},
};

use amqp_codec::{
    Arguments, Assembler, Content, ContentHeader, Error as CodecError, Method, ReplyCode, ShortString,
    borrowed,
    method::{basic, channel},
};
use bytes::Bytes;
use slab::Slab;

use super::{
    acks::Acks,
    calls::{CallId, Reply},
    chunk::look_ahead,
    confirms::{Confirms, RawReturn},
    delivery::{RawDelivery, check_exchange_and_key, exchange_at, join_head},
    expects::Expects,
    inbox::Inbox,
    link::Link,
    status::ChannelStatus,
    waiters::Waiters,
};
use crate::error::{Close, Error, Result};

/// Acks that gather while a consumer is busy, at the most.
const MAX_ACK_BATCH: usize = 128;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    /// `channel.close` is sent; all but its answer is of no consequence.
    Closing,
}

/// An answer that is due.
struct Due {
    call: Option<CallId>,
    expects: Expects,
}

/// The method of the content under way.
enum Incoming {
    Deliver { consumer: usize, payload: Bytes, exchange_at: usize, tag: u64, redelivered: bool },
    Get { payload: Bytes, ok: basic::GetOk, no_ack: bool },
    Return { payload: Bytes, exchange_at: usize, code: u16, text: String },
}

struct Consumer {
    tag: ShortString,
    inbox: Arc<Inbox>,
    /// Deliveries of the read under way.
    batch: VecDeque<RawDelivery>,
    no_ack: bool,
    /// Its handle was dropped: what still arrives goes back to the queue.
    dropped: bool,
}

pub(crate) struct Channel {
    id: u16,
    phase: Phase,
    due: VecDeque<Due>,
    incoming: Assembler<Incoming>,
    /// Who waits for the content of a `basic.get-ok`, while that is under way.
    getting: Option<CallId>,
    /// Content over the limit was refused: all until the channel is closed is of no consequence.
    is_discarding: bool,
    consumers: Slab<Consumer>,
    by_tag: HashMap<ShortString, usize>,
    /// The consumer of the last delivery, which is often that of the next.
    recent: usize,
    /// Consumers with a batch to be put into their inbox.
    touched: Vec<usize>,
    pub(crate) acks: Acks,
    /// So many acks waiting are company enough.
    ack_batch: usize,
    /// Answers due to `basic.recover`: what is delivered before them the broker has taken back.
    recovering: usize,
    pub(crate) confirms: Option<Confirms>,
    /// The broker has stopped the flow of publishes.
    pub(crate) flow_stopped: bool,
    status: Arc<ChannelStatus>,
    /// Who waits for the channel's end.
    pub(crate) end_waiters: Waiters,
    /// Who waits for the channel to have nothing left to do.
    pub(crate) drain_waiters: Waiters,
    /// The arrival of the delivery that the user was warned of, for it is held for long.
    warned_of: Option<Instant>,
    /// Who waits for room in the window of unconfirmed publishes, or for the flow.
    pub(crate) window_waiters: Waiters,
}

/// What a frame meant for the channel as a whole.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum After {
    Goes,
    /// Its number is free again.
    Gone,
}

impl Channel {
    pub(crate) fn new(id: u16, status: Arc<ChannelStatus>) -> Self {
        Channel {
            id,
            phase: Phase::Open,
            due: VecDeque::new(),
            incoming: Assembler::default(),
            getting: None,
            is_discarding: false,
            consumers: Slab::new(),
            by_tag: HashMap::new(),
            recent: 0,
            touched: Vec::new(),
            acks: Acks::default(),
            ack_batch: MAX_ACK_BATCH,
            recovering: 0,
            confirms: None,
            flow_stopped: false,
            status,
            end_waiters: Waiters::default(),
            drain_waiters: Waiters::default(),
            warned_of: None,
            window_waiters: Waiters::default(),
        }
    }

    pub(crate) fn status(&self) -> &Arc<ChannelStatus> {
        &self.status
    }

    pub(crate) fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }

    // ---- what handles do ----

    /// Sends a method that will be answered; the answer goes to `call`, to nobody when that is `None`.
    pub(crate) fn request(
        &mut self,
        link: &mut Link,
        method: Method,
        expects: Expects,
        call: Option<CallId>,
    ) -> Result<()> {
        self.flush_acks(link);
        link.send_method(self.id, method)?;
        if matches!(expects, Expects::Recover) {
            self.acks.forget();
            self.recovering += 1;
        }
        self.due.push_back(Due { call, expects });
        Ok(())
    }

    /// Sends a method that has no answer.
    pub(crate) fn send<A: Arguments>(&mut self, link: &mut Link, method: &A) -> Result<()> {
        self.flush_acks(link);
        link.send(self.id, method)
    }

    /// Sends the acks that wait: before any other frame of the channel, so that all leave in the order of the calls.
    #[inline]
    pub(crate) fn flush_acks(&mut self, link: &mut Link) -> usize {
        let waiting = self.acks.waiting();
        if waiting > 0 {
            let id = self.id;
            self.acks.take(|ack| {
                link.reply(id, &basic::Ack { delivery_tag: ack.tag, multiple: ack.multiple });
            });
        }
        waiting
    }

    /// Whether the acks that wait should leave now: the broker may have nothing it is allowed to send.
    #[inline]
    pub(crate) fn acks_are_urgent(&self) -> bool {
        self.acks.is_idle() || self.acks.waiting() >= self.ack_batch
    }

    /// A consumer may have this many deliveries outstanding: acks leave well before it has.
    pub(crate) fn limit_ack_batch(&mut self, prefetch: u16) {
        if prefetch > 0 {
            self.ack_batch = self.ack_batch.min(usize::from(prefetch / 4)).max(1);
        }
    }

    /// The user has settled a delivery.
    #[inline]
    pub(crate) fn settled(&mut self, link: &mut Link) {
        if self.acks.is_idle() {
            self.drain_waiters.wake_all(&mut link.wakes);
        }
    }

    /// Gives one outstanding delivery back.
    pub(crate) fn nack(&mut self, link: &mut Link, tag: u64, requeue: bool) {
        self.flush_acks(link);
        if self.acks.settle(tag) {
            self.settled(link);
            link.reply(self.id, &basic::Nack { delivery_tag: tag, multiple: false, requeue });
        }
    }

    /// Asks for no more deliveries: each consumer ends when the broker has agreed.
    pub(crate) fn cancel_consumers(&mut self, link: &mut Link) {
        let tags: Vec<_> = self.by_tag.keys().cloned().collect();
        for tag in tags {
            let cancel = basic::Cancel { consumer_tag: tag.clone(), no_wait: false };
            // Its tag came from the broker in a frame, so it fits into one.
            let _ = self.request(link, cancel.into(), Expects::Cancel { tag }, None);
        }
    }

    /// Whether there is nothing left to do: no consumer, nothing unacked, nothing unconfirmed.
    pub(crate) fn is_drained(&self) -> bool {
        self.consumers.is_empty()
            && self.acks.is_idle()
            && self.confirms.as_ref().is_none_or(|confirms| confirms.in_flight() == 0)
    }

    /// For how long the oldest delivery has been held, when that is over `limit` and was not told before.
    pub(crate) fn held_too_long(&mut self, now: Instant, limit: Duration) -> Option<Duration> {
        let arrived = self.acks.oldest()?;
        let held = now.saturating_duration_since(arrived);
        if held < limit || self.warned_of == Some(arrived) {
            return None;
        }
        self.warned_of = Some(arrived);
        Some(held)
    }

    /// Asks for the channel's end.
    pub(crate) fn close(&mut self, link: &mut Link, call: Option<CallId>) {
        let close = channel::Close { reply_code: 200, ..Default::default() };
        // A close without text always fits.
        if self.request(link, close.into(), Expects::Close, call).is_ok() {
            self.phase = Phase::Closing;
        }
    }

    /// A consumer's handle was dropped: cancels it and gives back what nobody will process.
    pub(crate) fn drop_consumer(&mut self, link: &mut Link, tag: &ShortString) {
        let Some(&index) = self.by_tag.get(tag) else { return };
        let Some(consumer) = self.consumers.get_mut(index) else { return };
        if std::mem::replace(&mut consumer.dropped, true) {
            return;
        }
        let (unread, _) = consumer.inbox.drain(); // the cancel wakes the driver, which looks at the backlog
        let no_ack = consumer.no_ack;
        if self.phase == Phase::Open {
            if !no_ack {
                for delivery in unread {
                    self.nack(link, delivery.tag, true);
                }
            }
            let cancel = basic::Cancel { consumer_tag: tag.clone(), no_wait: false };
            // Its tag came from the broker in a frame, so it fits into one.
            let _ = self.request(link, cancel.into(), Expects::Cancel { tag: tag.clone() }, None);
        }
    }

    // ---- what arrives ----

    /// A `basic.deliver` at `payload` in `chunk`. The usual case takes header and body with it: all three frames are in
    /// the chunk, and the delivery is two slices of it. Returns where the next frame begins.
    pub(crate) fn deliver(&mut self, link: &mut Link, chunk: &Bytes, payload: Range<usize>) -> Result<usize> {
        if self.is_discarding {
            return Ok(payload.end + 1);
        }
        self.incoming.expect_method().map_err(|error| self.broken(error))?;
        let bytes = chunk.get(payload.clone()).unwrap_or_default();
        let deliver = match borrowed::Deliver::decode(bytes) {
            Ok(Some(deliver)) => deliver,
            Ok(None) => return Ok(payload.end + 1),
            Err(error) => return Err(self.broken(error)),
        };
        let Some(consumer) = self.find_consumer(deliver.consumer_tag) else {
            return Err(self.broken(CodecError::UnexpectedFrame {
                expected: "a delivery to a consumer of this channel",
                got: "one with an unknown consumer tag",
            }));
        };
        // class 2, method 2, tag's length octet 1, delivery tag 8, bits 1
        let exchange_at = 14 + deliver.consumer_tag.len();
        let after = payload.end + 1;
        if let Some(ahead) = look_ahead(self.id, chunk, after, link.frame_max) {
            if ahead.body.len() as u64 > link.max_message_size {
                self.refuse_content(link, ahead.body.len() as u64);
                return Ok(ahead.next);
            }
            let head = chunk.slice(payload.start..ahead.properties.end);
            let properties_at = ahead.properties.start - payload.start;
            link.metrics.frames_received += if ahead.body.is_empty() { 1 } else { 2 };
            let body = chunk.slice(ahead.body);
            let (tag, redelivered) = (deliver.delivery_tag, deliver.redelivered);
            self.receive(link, consumer, head, exchange_at, properties_at, body, tag, redelivered);
            return Ok(ahead.next);
        }
        let incoming = Incoming::Deliver {
            consumer,
            exchange_at,
            tag: deliver.delivery_tag,
            redelivered: deliver.redelivered,
            payload: chunk.slice(payload),
        };
        self.incoming.method(incoming).map_err(|error| self.broken(error))?;
        Ok(after)
    }

    /// Any other method.
    pub(crate) fn method(&mut self, link: &mut Link, payload: &Bytes) -> Result<After> {
        self.incoming.expect_method().map_err(|error| self.broken(error))?;
        let method = Method::decode(payload).map_err(|error| self.broken(error))?;
        match method {
            Method::Channel(channel::Method::Close(close)) => return Ok(self.closed_by_broker(link, &close)),
            Method::Channel(channel::Method::CloseOk(_)) => return self.answer(link, method, payload),
            _ if self.is_discarding => {}
            Method::Channel(channel::Method::Flow(flow)) => {
                self.flow_stopped = !flow.active;
                self.window_waiters.wake_all(&mut link.wakes);
                link.reply(self.id, &channel::FlowOk { active: flow.active });
            }
            Method::Basic(basic::Method::Ack(ack)) => {
                self.settle(link, ack.delivery_tag, ack.multiple, false);
            }
            Method::Basic(basic::Method::Nack(nack)) => {
                self.settle(link, nack.delivery_tag, nack.multiple, true);
            }
            Method::Basic(basic::Method::Return(returned)) => self.begin_return(payload, &returned)?,
            Method::Basic(basic::Method::Cancel(cancel)) => self.cancelled_by_broker(link, &cancel),
            other => return self.answer(link, other, payload),
        }
        Ok(After::Goes)
    }

    pub(crate) fn header(&mut self, link: &mut Link, payload: &Bytes) -> Result<()> {
        if self.is_discarding {
            return Ok(());
        }
        let header = ContentHeader::decode(payload).map_err(|error| self.broken(error))?;
        let size = header.body_size;
        let content = self.incoming.header(header).map_err(|error| self.broken(error))?;
        if size > link.max_message_size {
            self.refuse_content(link, size);
            return Ok(());
        }
        self.complete(link, content)
    }

    pub(crate) fn body(&mut self, link: &mut Link, payload: Bytes) -> Result<()> {
        if self.is_discarding {
            return Ok(());
        }
        let content = self.incoming.body(payload).map_err(|error| self.broken(error))?;
        self.complete(link, content)
    }

    pub(crate) fn has_batches(&self) -> bool {
        !self.touched.is_empty()
    }

    /// Hands the deliveries of one read to their consumers.
    pub(crate) fn put_batches(&mut self, wakes: &mut Vec<Waker>) {
        for index in self.touched.drain(..) {
            if let Some(consumer) = self.consumers.get_mut(index) {
                wakes.extend(consumer.inbox.put(&mut consumer.batch));
            }
        }
    }

    /// Ends everything of this channel with `reason`: calls, publishes, consumers.
    pub(crate) fn end(&mut self, link: &mut Link, reason: &Error) {
        let reason = self.status.ended.get_or_init(|| reason.clone()).clone();
        self.put_batches(&mut link.wakes);
        let getting =
            self.getting.take().map(|call| Due { call: Some(call), expects: Expects::Get { no_ack: true } });
        for due in self.due.drain(..).chain(getting) {
            if let Some(call) = due.call {
                let result = match due.expects {
                    Expects::Close => Ok(Reply::Method(channel::CloseOk {}.into())),
                    _ => Err(reason.clone()),
                };
                let _ = link.calls.finish(call, result, &mut link.wakes);
            }
        }
        for (_, consumer) in &self.consumers {
            link.wakes.extend(consumer.inbox.end(Some(reason.clone())));
        }
        if let Some(mut confirms) = self.confirms.take() {
            confirms.wake_all(&mut link.wakes);
            *self.status.remains.lock() = Some(confirms);
        }
        self.end_waiters.wake_all(&mut link.wakes);
        self.drain_waiters.wake_all(&mut link.wakes);
        self.window_waiters.wake_all(&mut link.wakes);
    }

    fn find_consumer(&mut self, tag: &[u8]) -> Option<usize> {
        let is_recent = |consumer: &Consumer| consumer.tag.as_bytes() == tag;
        if !self.consumers.get(self.recent).is_some_and(is_recent) {
            self.recent = *self.by_tag.get(tag)?;
        }
        Some(self.recent)
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one delivery, on the hot path")]
    #[inline]
    fn receive(
        &mut self,
        link: &mut Link,
        consumer: usize,
        head: Bytes,
        exchange_at: usize,
        properties_at: usize,
        body: Bytes,
        tag: u64,
        redelivered: bool,
    ) {
        link.metrics.messages_received += 1;
        let Some(receiver) = self.consumers.get_mut(consumer) else { return };
        let no_ack = receiver.no_ack;
        if self.recovering > 0 && !no_ack {
            return self.acks.delivered(tag, true, link.now);
        }
        self.acks.delivered(tag, no_ack, link.now);
        if receiver.dropped {
            if !no_ack && self.phase == Phase::Open {
                self.nack(link, tag, true);
            }
            return;
        }
        if receiver.batch.is_empty() {
            self.touched.push(consumer);
        }
        let delivery = RawDelivery::new(head, exchange_at, properties_at, body, tag, redelivered, no_ack);
        receiver.batch.push_back(delivery);
    }

    /// Content has arrived in pieces, or over several reads.
    fn complete(&mut self, link: &mut Link, content: Option<Content<Incoming>>) -> Result<()> {
        let Some(Content { method, header, body }) = content else { return Ok(()) };
        let properties = header.properties.as_encoded();
        let body = body.into_bytes();
        match method {
            Incoming::Deliver { consumer, payload, exchange_at, tag, redelivered } => {
                let (head, properties_at) = join_head(&payload, properties);
                self.receive(link, consumer, head, exchange_at, properties_at, body, tag, redelivered);
            }
            Incoming::Get { payload, ok, no_ack } => {
                let (head, properties_at) = join_head(&payload, properties);
                let (tag, redelivered) = (ok.delivery_tag, ok.redelivered);
                let at = exchange_at::GET_OK;
                link.metrics.messages_received += 1;
                let got = RawDelivery::new(head, at, properties_at, body, tag, redelivered, no_ack);
                self.acks.delivered(tag, no_ack || self.recovering > 0, link.now);
                let call = self.getting.take();
                self.finish(link, call, Ok(Reply::Got(Box::new(got), ok.message_count)));
            }
            Incoming::Return { payload, exchange_at, code, text } => {
                let (head, properties_at) = join_head(&payload, properties);
                let content = RawDelivery::new(head, exchange_at, properties_at, body, 0, false, true);
                link.metrics.messages_returned += 1;
                if let Some(confirms) = &mut self.confirms {
                    confirms.returned(RawReturn { code, text, content });
                }
            }
        }
        Ok(())
    }

    fn begin_return(&mut self, payload: &Bytes, returned: &basic::Return) -> Result<()> {
        // class 2, method 2, code 2, text's length octet 1
        let exchange_at = 7 + returned.reply_text.len();
        check_exchange_and_key(payload, exchange_at).map_err(|error| self.broken(error))?;
        let incoming = Incoming::Return {
            payload: payload.clone(),
            exchange_at,
            code: returned.reply_code,
            text: returned.reply_text.to_string(),
        };
        self.incoming.method(incoming).map_err(|error| self.broken(error))
    }

    fn settle(&mut self, link: &mut Link, tag: u64, multiple: bool, nack: bool) {
        if let Some(confirms) = &mut self.confirms {
            confirms.settle(tag, multiple, nack, &mut link.wakes);
            if confirms.in_flight() == 0 {
                self.drain_waiters.wake_all(&mut link.wakes);
            }
            // Not at the first free place: who is woken should find room for a batch.
            if link.window.has_room_again(confirms) {
                self.window_waiters.wake_all(&mut link.wakes);
            }
        }
    }

    /// An answer: it belongs to the oldest call that it can answer. Not simply to the oldest: RabbitMQ answers
    /// `basic.consume` and `basic.cancel` from the queue's process, and methods that follow them may be answered first.
    fn answer(&mut self, link: &mut Link, method: Method, payload: &Bytes) -> Result<After> {
        let found = self.due.iter().position(|due| due.expects.is_answered_by(&method));
        let Some(due) = found.and_then(|index| self.due.remove(index)) else {
            let expected = self.due.front().map_or("no answer", |due| due.expects.name());
            return Err(self.unexpected(expected, method.name()));
        };
        let call = due.call;
        let mut after = After::Goes;
        match due.expects {
            Expects::Get { no_ack } => {
                if let Method::Basic(basic::Method::GetOk(ok)) = method {
                    let incoming = Incoming::Get { payload: payload.clone(), ok, no_ack };
                    self.getting = call;
                    self.incoming.method(incoming).map_err(|error| self.broken(error))?;
                    return Ok(after);
                }
            }
            Expects::Consume { tag, inbox, no_ack } => self.add_consumer(tag, inbox, no_ack),
            Expects::Cancel { tag } => self.remove_consumer(link, &tag, None),
            Expects::ConfirmSelect => {
                self.confirms.get_or_insert_with(|| Confirms::new(self.status.progress.clone()));
            }
            Expects::Recover => self.recovering -= 1,
            Expects::Close => {
                self.end(link, &Error::ChannelEnded { channel: self.id });
                after = After::Gone;
            }
            Expects::Method(..) => {}
        }
        self.finish(link, call, Ok(Reply::Method(method)));
        Ok(after)
    }

    /// Gives an answer to its caller. When that has gone, undoes what the answer brought about.
    fn finish(&mut self, link: &mut Link, call: Option<CallId>, result: Result<Reply>) {
        let unwanted = match call {
            Some(call) => link.calls.finish(call, result, &mut link.wakes),
            None => Some(result),
        };
        if let Some(Ok(reply)) = unwanted {
            self.undo(link, reply);
        }
    }

    /// Nobody took this answer: a message got goes back, a consumer started is cancelled.
    pub(crate) fn undo(&mut self, link: &mut Link, reply: Reply) {
        match reply {
            Reply::Got(delivery, _) if !delivery.no_ack && self.is_open() => {
                self.nack(link, delivery.tag, true);
            }
            Reply::Method(Method::Basic(basic::Method::ConsumeOk(ok))) => {
                self.drop_consumer(link, &ok.consumer_tag);
            }
            _ => {}
        }
    }

    fn add_consumer(&mut self, tag: ShortString, inbox: Arc<Inbox>, no_ack: bool) {
        let consumer = Consumer { tag: tag.clone(), inbox, batch: VecDeque::new(), no_ack, dropped: false };
        let index = self.consumers.insert(consumer);
        self.by_tag.insert(tag, index);
    }

    fn remove_consumer(&mut self, link: &mut Link, tag: &ShortString, reason: Option<Error>) {
        let Some(index) = self.by_tag.remove(tag) else { return };
        self.put_batches(&mut link.wakes);
        if let Some(consumer) = self.consumers.try_remove(index) {
            link.wakes.extend(consumer.inbox.end(reason));
        }
        self.drain_waiters.wake_all(&mut link.wakes);
    }

    fn cancelled_by_broker(&mut self, link: &mut Link, cancel: &basic::Cancel) {
        let tag = &cancel.consumer_tag;
        self.remove_consumer(link, tag, Some(Error::ConsumerCancelled { tag: tag.to_string() }));
        if !cancel.no_wait {
            link.reply(self.id, &basic::CancelOk { consumer_tag: tag.clone() });
        }
    }

    /// The broker ends the channel. When both closed at once its answer to our close is still to come.
    fn closed_by_broker(&mut self, link: &mut Link, close: &channel::Close) -> After {
        link.reply(self.id, &channel::CloseOk {});
        let crossed = self.phase == Phase::Closing;
        let close = Close::new(close.reply_code, &close.reply_text, close.class_id, close.method_id);
        self.end(link, &Error::ChannelClosed { channel: self.id, close });
        if !crossed {
            return After::Gone;
        }
        self.due.push_back(Due { call: None, expects: Expects::Close });
        After::Goes
    }

    /// Content is over the limit: ends the channel, and leaves the connection to its other channels, as RabbitMQ does with
    /// publishes over its `max_message_size`. Content that comes while the channel closes is merely dropped.
    #[cold]
    fn refuse_content(&mut self, link: &mut Link, size: u64) {
        self.is_discarding = true;
        self.incoming.clear();
        if self.phase == Phase::Closing {
            return;
        }
        let error = Error::MessageTooLarge { channel: self.id, size, limit: link.max_message_size };
        let close = channel::Close {
            reply_code: ReplyCode::CONTENT_TOO_LARGE.0,
            reply_text: ShortString::new("reply text", &error.to_string()).unwrap_or_default(),
            ..Default::default()
        };
        self.end(link, &error);
        if self.request(link, close.into(), Expects::Close, None).is_ok() {
            self.phase = Phase::Closing;
        }
    }

    fn broken(&self, source: CodecError) -> Error {
        Error::Protocol { channel: self.id, source }
    }

    fn unexpected(&self, expected: &'static str, got: &'static str) -> Error {
        Error::UnexpectedMethod { channel: self.id, expected, got }
    }
}
