//! One channel: its calls in order, the content under way, its consumers, confirms and acks.

mod content;
mod handles;

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    task::Waker,
    time::Instant,
};

use amqp_codec::{
    Assembler, Error as CodecError, Method, ShortString,
    method::{basic, channel},
};
use bytes::Bytes;
use slab::Slab;

use super::{
    acks::Acks,
    calls::{CallId, Reply},
    confirms::Confirms,
    delivery::RawDelivery,
    expects::Expects,
    inbox::Inbox,
    link::Link,
    status::ChannelStatus,
    waiters::Waiters,
};
use crate::{
    error::{Close, Error, Result},
    event::Event,
};

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
        let reason = Error::ChannelClosed { channel: self.id, close };
        if self.status.ended.get().is_none() {
            link.events.push(Event::ChannelClosed { channel: self.id, reason: reason.clone() });
        }
        self.end(link, &reason);
        if !crossed {
            return After::Gone;
        }
        self.due.push_back(Due { call: None, expects: Expects::Close });
        After::Goes
    }

    fn broken(&self, source: CodecError) -> Error {
        Error::Protocol { channel: self.id, source }
    }

    fn unexpected(&self, expected: &'static str, got: &'static str) -> Error {
        Error::UnexpectedMethod { channel: self.id, expected, got }
    }
}
