//! One channel: its calls in order, the content under way, its consumers, confirms and acks.

mod content;
mod handles;
mod held;
mod last_queue;
mod restore;

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    task::Waker,
    time::Instant,
};

use amqp_codec::{
    Arguments as _, Assembler, Error as CodecError, Method, ReplyCode, ShortString,
    method::{basic, channel, queue},
};
use bytes::Bytes;
use slab::Slab;

use crate::proto::{
    calls::{CallId, Reply},
    consuming::{
        acks::Acks, delivery::RawDelivery, holders::Holder, inbox::Inbox, subscription::Subscription,
    },
    expects::Expects,
    ground::waiters::Waiters,
    link::Link,
    publishing::confirms::Confirms,
    status::ChannelStatus,
    transaction::Transaction,
};
use crate::{
    error::{Close, Error, Result},
    event::Event,
};

/// Acks that gather while a consumer is busy, at the most.
const MAX_ACK_BATCH: usize = 128;

#[derive(Clone, Debug)]
enum Phase {
    Open,
    /// `channel.close` is sent; all but its answer is of no consequence.
    Closing,
    /// The broker knows nothing of it any more, for this reason. It is to be opened again.
    Lost(Error),
    /// Opened again; what belongs to it is being set up.
    Restoring,
}

/// What takes a channel away that is to be restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    /// The transport: nobody is to blame, and publishes may be made again.
    Transport,
    /// The broker closed the channel or the connection, perhaps for what was published: made again, that would have it closed
    /// again, for ever.
    Closed,
}

impl Loss {
    /// What took a whole connection away. 320 is what a broker says that goes down, or its operator; nothing else it says is
    /// sure not to be about a publish.
    pub(crate) fn of_connection(reason: &Error) -> Self {
        match reason {
            Error::ConnectionClosed(close) if close.code != ReplyCode::CONNECTION_FORCED => Loss::Closed,
            _ => Loss::Transport,
        }
    }
}

/// An answer that is due.
struct Due {
    call: Option<CallId>,
    expects: Expects,
    /// What was asked for, when the registry is to know that it was done.
    request: Option<Method>,
}

/// The method of the content under way.
enum Incoming {
    Deliver { consumer: usize, payload: Bytes, exchange_at: usize, tag: u64, redelivered: bool },
    Get { payload: Bytes, ok: basic::GetOk, no_ack: bool },
    Return { payload: Bytes, exchange_at: usize, code: u16, text: String },
}

struct Consumer {
    /// How it began, and begins again.
    subscription: Subscription,
    inbox: Arc<Inbox>,
    /// Deliveries of the read under way.
    batch: VecDeque<RawDelivery>,
    /// The size of those.
    batch_bytes: usize,
    /// Under which its unsettled deliveries are counted; `None` when nothing is to be settled.
    holder: Option<Holder>,
    /// So many of those are no breach of its prefetch.
    unsettled_limit: u32,
    /// It waits until the broker lets go of what it keeps for a connection that was lost.
    is_held: bool,
    /// Its handle was dropped, or it has ended: what still arrives goes back to the queue.
    dropped: bool,
}

pub(crate) struct Channel {
    id: u16,
    phase: Phase,
    due: VecDeque<Due>,
    incoming: Assembler<Incoming>,
    /// Over which size the body of the content under way is dropped as it comes, because its consumer says so.
    withhold_over: Option<u64>,
    /// Who waits for the content of a `basic.get-ok`, while that is under way.
    getting: Option<CallId>,
    /// Content over the limit was refused: all until the channel is closed is of no consequence.
    is_discarding: bool,
    consumers: Slab<Consumer>,
    by_tag: HashMap<ShortString, usize>,
    /// The consumer of the last delivery, which is often that of the next.
    recent: usize,
    /// Of the consumers there were since the channel was opened, that which may have most unsettled.
    loosest_limit: u32,
    /// Consumers with a batch to be put into their inbox.
    touched: Vec<usize>,
    pub(crate) acks: Acks,
    /// Delivery tags begin anew on each connection; here they go on, from this one.
    tags_before: u64,
    /// So many acks waiting are company enough.
    ack_batch: usize,
    /// Answers due to `basic.recover`: what is delivered before them the broker has taken back.
    recovering: usize,
    pub(crate) confirms: Option<Confirms>,
    /// Since `tx.select`.
    transaction: Option<Transaction>,
    /// The prefetch of the channel as a whole, when it was set.
    qos: Option<basic::Qos>,
    /// The queue declared last, which an empty name stands for.
    last_queue: ShortString,
    /// It is opened again when the broker closes it for an error.
    reopens: bool,
    /// The broker has stopped the flow of publishes.
    pub(crate) flow_stopped: bool,
    status: Arc<ChannelStatus>,
    /// Who waits for the channel's end.
    pub(crate) end_waiters: Waiters,
    /// Who waits for the channel to have nothing left to do.
    pub(crate) drain_waiters: Waiters,
    /// The arrival of the delivery that the user was warned of, for it is held for long.
    warned_of: Option<Instant>,
    /// A consumer that has waited for its queue is being begun again.
    resumes_held: bool,
    /// Who waits for room in the window of unconfirmed publishes, or for the flow.
    pub(crate) window_waiters: Waiters,
}

/// What a frame meant for the channel as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    Goes,
    /// It is to be opened again.
    Lost,
    /// Its number is free again.
    Gone,
}

impl Channel {
    pub(crate) fn new(id: u16, status: Arc<ChannelStatus>, reopens: bool) -> Self {
        Channel {
            id,
            phase: Phase::Open,
            due: VecDeque::new(),
            incoming: Assembler::default(),
            withhold_over: None,
            getting: None,
            is_discarding: false,
            consumers: Slab::new(),
            by_tag: HashMap::new(),
            recent: 0,
            loosest_limit: 0,
            touched: Vec::new(),
            acks: Acks::default(),
            tags_before: 0,
            ack_batch: MAX_ACK_BATCH,
            recovering: 0,
            confirms: None,
            transaction: None,
            qos: None,
            last_queue: ShortString::EMPTY,
            reopens,
            flow_stopped: false,
            status,
            end_waiters: Waiters::default(),
            drain_waiters: Waiters::default(),
            warned_of: None,
            resumes_held: false,
            window_waiters: Waiters::default(),
        }
    }

    #[inline]
    pub(crate) fn id(&self) -> u16 {
        self.id
    }

    #[inline]
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open)
    }

    /// Whether what was delivered can be settled.
    #[inline]
    pub(crate) fn is_live(&self) -> bool {
        matches!(self.phase, Phase::Open | Phase::Restoring)
    }

    #[inline]
    pub(crate) fn is_closing(&self) -> bool {
        matches!(self.phase, Phase::Closing)
    }

    /// Why it cannot be used.
    #[cold]
    pub(crate) fn refusal(&self) -> Error {
        match self.phase {
            Phase::Lost(_) | Phase::Restoring => Error::Recovering,
            Phase::Open | Phase::Closing => Error::ChannelEnded { channel: self.id },
        }
    }

    /// # Errors
    /// [`Error::Recovering`] while it will be open again; or the bare fact that it has ended.
    #[inline]
    pub(crate) fn check_open(&self) -> Result<()> {
        if self.is_open() { Ok(()) } else { Err(self.refusal()) }
    }

    /// As [`check_open`](Self::check_open), also while it is lost or being restored.
    #[inline]
    pub(crate) fn check_not_closing(&self) -> Result<()> {
        if self.is_closing() { Err(self.refusal()) } else { Ok(()) }
    }

    /// As [`check_open`](Self::check_open), while it is being restored.
    pub(crate) fn check_restoring(&self) -> Result<()> {
        if self.is_restoring() { Ok(()) } else { Err(self.refusal()) }
    }

    /// Whether it cannot be used, but will be again.
    pub(crate) fn is_recovering(&self) -> bool {
        matches!(self.phase, Phase::Lost(_) | Phase::Restoring)
    }

    /// Whether it has ended, for the reason in its status.
    pub(crate) fn has_ended(&self) -> bool {
        self.status.ended.get().is_some()
    }

    /// Any other method.
    pub(crate) fn method(&mut self, link: &mut Link, payload: &Bytes) -> Result<After> {
        self.incoming.expect_method().map_err(|error| self.broken(error))?;
        let method = Method::decode(payload).map_err(|error| self.broken(error))?;
        match method {
            Method::Channel(channel::Method::Close(close)) => return Ok(self.closed_by_broker(link, &close)),
            _ if matches!(self.phase, Phase::Lost(_)) => {}
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
                let bytes = std::mem::take(&mut consumer.batch_bytes);
                wakes.extend(consumer.inbox.put(&mut consumer.batch, bytes));
            }
        }
    }

    /// Gives back what a quiet channel does not need.
    pub(crate) fn release(&mut self, wakes: &mut Vec<Waker>) {
        self.acks.release();
        self.touched.shrink_to(0);
        if let Some(confirms) = &mut self.confirms {
            confirms.release();
        }
        for (_, consumer) in &mut self.consumers {
            consumer.batch.shrink_to(0);
            wakes.extend(consumer.inbox.release());
        }
    }

    /// Ends everything of this channel with `reason`: calls, publishes, consumers.
    pub(crate) fn end(&mut self, link: &mut Link, reason: &Error) {
        let reason = self.status.ended.get_or_init(|| reason.clone()).clone();
        self.put_batches(&mut link.wakes);
        // The broker may answer the close before the cancels that went before it: these have had their effect all the same.
        let cancelled = match reason {
            Error::ChannelEnded { .. } | Error::ConnectionEnded => self.being_cancelled(),
            _ => Vec::new(),
        };
        self.end_calls(link, &reason);
        for (_, consumer) in &self.consumers {
            let is_cancelled = cancelled.contains(consumer.subscription.tag());
            link.wakes.extend(consumer.inbox.end((!is_cancelled).then(|| reason.clone())));
            link.consumer_gone(&consumer.subscription);
        }
        if let Some(mut confirms) = self.confirms.take() {
            confirms.wake_all(&mut link.wakes);
            *self.status.remains.lock() = Some(confirms);
        }
        self.end_waiters.wake_all(&mut link.wakes);
        self.drain_waiters.wake_all(&mut link.wakes);
        self.window_waiters.wake_all(&mut link.wakes);
    }

    fn end_calls(&mut self, link: &mut Link, reason: &Error) {
        let getting = self.getting.take().map(|call| (Some(call), Expects::Get { no_ack: true }));
        let due = self.due.drain(..).map(|due| (due.call, due.expects));
        for (call, expects) in due.chain(getting) {
            if let Some(call) = call {
                let result = match expects {
                    Expects::Close => Ok(Reply::Method(channel::CloseOk {}.into())),
                    _ => Err(reason.clone()),
                };
                let _ = link.calls.finish(call, result, &mut link.wakes);
            }
        }
    }

    fn settle(&mut self, link: &mut Link, tag: u64, multiple: bool, nack: bool) {
        if let Some(confirms) = &mut self.confirms {
            let before = confirms.in_flight();
            confirms.settle(tag, multiple, nack, &mut link.wakes);
            let answered = before.saturating_sub(confirms.in_flight()) as u64;
            let count =
                if nack { &mut link.metrics.messages_nacked } else { &mut link.metrics.messages_confirmed };
            *count += answered;
            if confirms.in_flight() == 0 {
                self.drain_waiters.wake_all(&mut link.wakes);
            }
            // Not at the first free place: who is woken should find room for a batch. Where one does not come about soon, the
            // answers that are missing may never come.
            if link.window.has_room_again(confirms) {
                self.window_waiters.wake_all(&mut link.wakes);
            } else if self.window_waiters.len() > 0 && link.window.has_room(confirms) {
                link.window_opens = true;
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
        if let Method::Queue(queue::Method::DeclareOk(ok)) = &method {
            self.last_queue = ok.queue.detach();
        }
        if let (Some(registry), Some(mut request)) = (&mut link.registry, due.request) {
            self.name_answered_queue(&mut request);
            registry.apply(request, Some(&self.last_queue));
        }
        let mut after = After::Goes;
        match due.expects {
            Expects::Get { no_ack } => {
                if let Method::Basic(basic::Method::GetOk(ok)) = method {
                    let incoming = Incoming::Get { payload: payload.clone(), ok, no_ack };
                    self.getting = call;
                    self.withhold_over = None;
                    self.incoming.method(incoming).map_err(|error| self.broken(error))?;
                    return Ok(after);
                }
            }
            Expects::Consume(subscription, inbox) => self.add_consumer(*subscription, inbox),
            Expects::Cancel { tag } => self.remove_consumer(link, &tag, None),
            Expects::ConfirmSelect => {
                self.confirms.get_or_insert_with(|| Confirms::new(self.status.progress.clone()));
            }
            Expects::Transaction(..) => self.transaction = Some(Transaction::default()),
            Expects::Recover => self.recovering -= 1,
            Expects::Close => {
                self.end(link, &Error::ChannelEnded { channel: self.id });
                after = After::Gone;
            }
            Expects::Resume { .. } => {
                self.finish(link, call, Ok(Reply::Resumed));
                return Ok(after);
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

    fn add_consumer(&mut self, mut subscription: Subscription, inbox: Arc<Inbox>) {
        if subscription.consume.queue.is_empty() {
            subscription.consume.queue = self.last_queue.clone();
        }
        let tag = subscription.consume.consumer_tag.clone();
        let limit = subscription.unsettled_limit().unwrap_or(u32::MAX);
        self.loosest_limit = self.loosest_limit.max(limit);
        // The first delivery is to be looked at.
        let unsettled_limit = if subscription.is_of_stream() { 0 } else { limit };
        let consumer = Consumer {
            holder: (!subscription.consume.no_ack).then(|| self.acks.holders.add()),
            subscription,
            inbox,
            batch: VecDeque::new(),
            batch_bytes: 0,
            unsettled_limit,
            is_held: false,
            dropped: false,
        };
        let index = self.consumers.insert(consumer);
        self.by_tag.insert(tag, index);
    }

    fn remove_consumer(&mut self, link: &mut Link, tag: &ShortString, reason: Option<Error>) {
        let Some(index) = self.by_tag.remove(tag) else { return };
        self.put_batches(&mut link.wakes);
        if let Some(consumer) = self.consumers.try_remove(index) {
            // One that was cancelled by the broker or cannot go on is not what its queue was deleted for.
            if reason.is_none() {
                link.consumer_gone(&consumer.subscription);
            }
            link.wakes.extend(consumer.inbox.end(reason));
            if let Some(holder) = consumer.holder {
                self.acks.holders.remove(holder);
            }
        }
        self.drain_waiters.wake_all(&mut link.wakes);
    }

    fn cancelled_by_broker(&mut self, link: &mut Link, cancel: &basic::Cancel) {
        let tag = &cancel.consumer_tag;
        if let Some(consumer) = self.by_tag.get(tag).and_then(|&index| self.consumers.get(index)) {
            consumer.inbox.keep_cancelled(consumer.subscription.clone());
        }
        self.remove_consumer(link, tag, Some(Error::ConsumerCancelled { tag: tag.to_string() }));
        if !cancel.no_wait {
            link.reply(self.id, &basic::CancelOk { consumer_tag: tag.clone() });
        }
    }

    /// The broker ends the channel. When both closed at once its answer to our close is still to come.
    fn closed_by_broker(&mut self, link: &mut Link, close: &channel::Close) -> After {
        link.reply(self.id, &channel::CloseOk {});
        let crossed = matches!(self.phase, Phase::Closing);
        let close = Close::new(close.reply_code, &close.reply_text, close.class_id, close.method_id);
        let reason = Error::ChannelClosed { channel: self.id, close };
        if self.is_restoring() || (self.resumes_held && reason.may_be_of(basic::Consume::ID)) {
            self.lose(link, &reason, Loss::Transport);
            return After::Lost;
        }
        if self.status.ended.get().is_none() {
            link.events.push(Event::ChannelClosed { channel: self.id, reason: reason.clone() });
        }
        if self.reopens && self.is_open() {
            self.lose(link, &reason, Loss::Closed);
            return After::Lost;
        }
        self.end(link, &reason);
        if !crossed {
            return After::Gone;
        }
        self.due.push_back(Due { call: None, expects: Expects::Close, request: None });
        After::Goes
    }

    fn broken(&self, source: CodecError) -> Error {
        Error::Protocol { channel: self.id, source }
    }

    fn unexpected(&self, expected: &'static str, got: &'static str) -> Error {
        Error::UnexpectedMethod { channel: self.id, expected, got }
    }
}
