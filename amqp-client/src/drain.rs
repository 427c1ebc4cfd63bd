//! Ending one consumer gracefully.

use std::{
    fmt,
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_core::Stream;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::{
    consumer::Consumer,
    delivery::Delivery,
    error::{Error, Result},
    proto::connection::wait::WaitFor,
    runtime::{shared::Shared, waiting::Waiting},
};

/// A consumer that is ending: a stream of the deliveries that had arrived, which is over when all
/// of them are settled. It is made by [`Consumer::drain`].
///
/// # On drop
/// Nothing is waited for any more; deliveries that were not handed out go back to the queue.
pub struct Drain {
    consumer: Consumer,
    after: Duration,
    /// The deadline; `None` when it is beyond the range of the clock.
    deadline: Option<Instant>,
    /// The timer of the deadline, made when there is something to wait for.
    timer: Option<Pin<Box<Sleep>>>,
    waiting: Waiting<Arc<Shared>>,
    is_over: bool,
}

impl Consumer {
    /// Ends the consumer gracefully. It asks the broker at once to send no more. The returned
    /// [`Drain`] hands out the deliveries that had arrived, and is over when all deliveries of this
    /// consumer are settled, or when the deadline has passed.
    ///
    /// Earlier deliveries to other consumers of the channel have to be settled too; to end those
    /// consumers as well, see [`Channel::drain`](crate::Channel::drain). The channel stays open.
    ///
    /// ```no_run
    /// # async fn run(consumer: amqp_client::Consumer) -> amqp_client::Result<()> {
    /// let mut drain = consumer.drain(std::time::Duration::from_secs(10));
    /// while let Some(delivery) = drain.recv().await {
    ///     let delivery = delivery?;
    ///     // Process it.
    ///     delivery.ack().await?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn drain(self, deadline: Duration) -> Drain {
        self.begin_cancel();
        Drain::new(self, deadline)
    }
}

impl Drain {
    fn new(consumer: Consumer, after: Duration) -> Self {
        let deadline = Instant::now().checked_add(after);
        let waiting = Waiting::new(consumer.channel().connection.shared.clone());
        Drain { waiting, consumer, after, deadline, timer: None, is_over: false }
    }

    /// Returns the next of the deliveries that had arrived; `None` when there are no more and all
    /// are settled. The last item is an error when the deadline passed first
    /// ([`Error::DrainTimeout`]), or when the channel or connection ended.
    ///
    /// # Cancel safety
    /// If the future is dropped while pending, nothing was taken.
    pub async fn recv(&mut self) -> Option<Result<Delivery>> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Delivery>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        if let Poll::Ready(item) = self.poll_before_deadline(cx) {
            self.is_over = item.is_none();
            return Poll::Ready(item);
        }
        ready!(self.poll_deadline(cx));
        self.is_over = true;
        let channel = self.consumer.channel();
        let unacked = channel.with_channel(|channel| channel.acks.outstanding()).unwrap_or_default();
        Poll::Ready(Some(Err(Error::DrainTimeout { after: self.after, unacked, unconfirmed: 0 })))
    }

    fn poll_before_deadline(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Delivery>>> {
        if let Some(item) = ready!(self.consumer.poll_recv(cx)) {
            return Poll::Ready(Some(item));
        }
        let newest = self.consumer.newest();
        let key = self.consumer.channel().key;
        self.waiting.poll_for(cx, WaitFor::Settled(key), |engine| {
            let is_settled = engine.channel(key).map_or(true, |channel| channel.is_settled_up_to(newest));
            is_settled.then_some(None)
        })
    }

    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(deadline) = self.deadline else { return Poll::Pending };
        self.timer.get_or_insert_with(|| Box::pin(sleep_until(deadline))).as_mut().poll(cx)
    }
}

impl Stream for Drain {
    type Item = Result<Delivery>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_recv(cx)
    }
}

impl fmt::Debug for Drain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Drain").field("consumer", &self.consumer).field("is_over", &self.is_over).finish()
    }
}
