//! A consumer: a stream of deliveries.

use std::{
    collections::VecDeque,
    fmt,
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use amqp_codec::{Arguments, ShortString, method::basic};
use futures_core::Stream;

use crate::{
    delivery::Delivery,
    error::Result,
    proto::{
        channel_ref::ChannelRef,
        consuming::{
            delivery::RawDelivery,
            inbox::{Inbox, Taken},
            subscription::Place,
        },
        expects::Expects,
    },
    runtime::{
        backoff::Backoff,
        handles::ChannelHandle,
        resubscribe::{Resubscribing, resubscribe},
    },
};

/// After this many bytes handed out, the consumer subtracts them from the count of waiting bytes.
const LET_GO_AFTER: usize = 64 * 1024;

/// A consumer of a queue: a stream of deliveries. Its last item is the reason why it ended; after
/// [`cancel`](Self::cancel) there is no such item.
///
/// # On drop
/// The consumer is cancelled in the background; deliveries that were not handed out go back to the
/// queue.
pub struct Consumer {
    channel: Arc<ChannelHandle>,
    tag: ShortString,
    inbox: Arc<Inbox>,
    /// The pauses before restarts, if the consumer is restarted when the broker cancels it.
    resubscribe: Option<Backoff>,
    /// The restart that is under way.
    resubscribing: Option<Resubscribing>,
    /// Deliveries taken from the inbox and not yet handed out.
    local: VecDeque<RawDelivery>,
    /// How many bytes were handed out and still count as waiting.
    handed_out: usize,
    /// The tag of the newest delivery that has to be settled.
    newest: u64,
    /// The position in a stream, if it has to be remembered.
    place: Option<Arc<Place>>,
    ended: bool,
}

impl Consumer {
    pub(crate) fn new(
        channel: Arc<ChannelHandle>,
        tag: ShortString,
        inbox: Arc<Inbox>,
        resubscribe: Option<Backoff>,
        place: Option<Arc<Place>>,
    ) -> Self {
        Consumer {
            channel,
            tag,
            inbox,
            resubscribe,
            resubscribing: None,
            local: VecDeque::new(),
            handed_out: 0,
            newest: 0,
            place,
            ended: false,
        }
    }

    /// Returns the consumer's tag.
    pub fn tag(&self) -> &str {
        self.tag.as_str().unwrap_or_default()
    }

    /// Returns the name of the consumer's queue; `None` when the consumer has ended. A name that
    /// the broker generated changes when the connection was lost and recovered.
    pub fn queue(&self) -> Option<String> {
        let queue = self.channel.with_channel(|channel| channel.consumers.queue_of(&self.tag).cloned());
        queue.ok().flatten().map(|queue| queue.to_string())
    }

    /// Returns the next delivery. If the broker, the channel or the connection ended the consumer,
    /// the last item is the reason; after that, `None`.
    ///
    /// # Cancel safety
    /// If the future is dropped while pending, nothing was taken.
    pub async fn recv(&mut self) -> Option<Result<Delivery>> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// Asks the broker to send no more, and waits until it agrees. Deliveries that were sent before
    /// can still be received; the stream ends after them.
    ///
    /// # Errors
    /// The reason why the channel ended.
    ///
    /// # Cancel safety
    /// If the future is dropped while pending, the cancel continues.
    pub async fn cancel(&mut self) -> Result<()> {
        let cancel = basic::Cancel { consumer_tag: self.tag.clone(), no_wait: false };
        let expects = Expects::Cancel { tag: self.tag.clone() };
        let timeout = self.channel.connection.call_timeout;
        let send = |mut channel: ChannelRef<'_>| channel.call(cancel.into(), expects);
        self.channel.request(basic::Cancel::NAME, timeout, send).await.map(drop)
    }

    pub(crate) fn channel(&self) -> &ChannelHandle {
        &self.channel
    }

    /// Asks the broker for no more deliveries, without waiting.
    pub(crate) fn begin_cancel(&self) {
        // If the channel has ended, so has the consumer.
        let _ = self.channel.with_channel(|mut channel| channel.cancel_consumer(&self.tag));
    }

    /// Returns the tag of the newest delivery handed out that has to be settled; 0 when there was
    /// none.
    pub(crate) fn newest(&self) -> u64 {
        self.newest
    }

    pub(crate) fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Delivery>>> {
        loop {
            if let Some(raw) = self.local.pop_front() {
                self.count_handed_out(raw.size());
                // A delivery of a lost connection is delivered again, unless it needs no
                // acknowledgement.
                if self.channel.status.is_stale(raw.tag) && !raw.no_ack {
                    continue;
                }
                if let Some(place) = &self.place
                    && let Some(offset) = raw.stream_offset()
                {
                    place.read(offset);
                }
                return Poll::Ready(Some(Ok(Delivery::consumed(self.channel.clone(), raw))));
            }
            if self.ended {
                return Poll::Ready(None);
            }
            if let Some(resubscribing) = &mut self.resubscribing {
                let resubscribed = ready!(resubscribing.as_mut().poll(cx));
                self.resubscribing = None;
                match resubscribed {
                    Ok(inbox) => self.inbox = inbox,
                    Err(reason) => {
                        self.ended = true;
                        return Poll::Ready(Some(Err(reason)));
                    }
                }
            }
            let taken = self.inbox.poll_take(&mut self.local, cx.waker());
            if let Some(raw) = self.local.back().filter(|raw| !raw.no_ack) {
                self.newest = raw.tag;
            }
            if let Taken::Ended(reason) = ready!(taken) {
                if let (Some(backoff), Some(cancelled)) = (self.resubscribe, self.inbox.take_cancelled()) {
                    self.resubscribing = Some(resubscribe(self.channel.clone(), cancelled, backoff));
                    continue;
                }
                self.ended = true;
                if let Some(reason) = reason {
                    return Poll::Ready(Some(Err(reason)));
                }
            }
        }
    }

    /// Counts bytes as handed out. They are subtracted from the waiting bytes in steps; the last
    /// delivery taken always ends a step, because its user may now wait for an answer, which has to
    /// be read.
    #[inline]
    fn count_handed_out(&mut self, bytes: usize) {
        self.handed_out += bytes;
        if self.handed_out >= LET_GO_AFTER || self.local.is_empty() {
            let bytes = std::mem::take(&mut self.handed_out);
            self.let_go(bytes);
        }
    }

    fn let_go(&self, bytes: usize) {
        if self.inbox.let_go(bytes) {
            self.channel.with(|engine, _| engine.resume_reading());
        }
    }
}

impl Stream for Consumer {
    type Item = Result<Delivery>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_recv(cx)
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        let unread = std::mem::take(&mut self.local);
        self.let_go(self.handed_out + unread.iter().map(RawDelivery::size).sum::<usize>());
        let unread = unread.iter().filter(|raw| raw.may_be_given_back()).map(|raw| raw.tag);
        self.channel.with(|engine, key| engine.drop_consumer(key, &self.tag, unread));
        // The inbox is still filled only if the consumer or its channel had ended before.
        let (unread, may_read) = self.inbox.drain();
        for raw in unread.iter().filter(|raw| raw.may_be_given_back()) {
            // If the channel has ended, the broker has requeued the delivery.
            let _ = self.channel.with_channel(|mut channel| channel.nack(raw.tag, true));
        }
        if may_read {
            self.channel.with(|engine, _| engine.resume_reading());
        }
    }
}

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer").field("tag", &self.tag).field("ended", &self.ended).finish()
    }
}
