//! Receiving messages into a sink, and settling them once they are safe there.

use std::time::Duration;

use amqp_client::{Acker, Delivery};
use clap::Args;
use futures_util::{FutureExt as _, Stream, StreamExt as _, stream::select_all};
use tokio::time::timeout;

use super::{
    settlement::{Held, Then},
    sources::Subscribed,
};
use crate::{
    context::Context,
    error::Error,
    exit::Exit,
    message::{sink::MessageSink, view::MessageView},
    output::progress::Progress,
};

/// How many messages are put into a sink before it is flushed and they are settled.
const BATCH: usize = 256;

/// When receiving ends by itself.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct EndArguments {
    /// Ends after so many messages
    #[arg(short = 'n', visible_short_alias = 'c', long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) limit: Option<u64>,

    /// Ends when no message came for so long; exit code 3 if there was none at all
    #[arg(short, long, value_name = "SECONDS", value_parser = seconds)]
    pub(crate) idle_timeout: Option<Duration>,
}

/// Reads a time in seconds, with or without a fraction.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "it is no number of seconds".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

/// A delivery, with its queue where that is known.
pub(crate) type Incoming = amqp_client::Result<(Option<String>, Delivery)>;

/// The deliveries of all consumers.
pub(crate) fn deliveries(subscribed: Vec<Subscribed>) -> impl Stream<Item = Incoming> + Unpin {
    select_all(subscribed.into_iter().map(|Subscribed { consumer, queue }| {
        consumer.map(move |delivery| delivery.map(|delivery| (queue.clone(), delivery)))
    }))
}

/// Messages on their way into a sink.
pub(crate) struct Receiving<'a, S> {
    pub(crate) sink: S,
    pub(crate) then: Then,
    pub(crate) end: EndArguments,
    pub(crate) held: Held,
    pub(crate) received: u64,
    pub(crate) progress: Option<Progress>,
    /// Changes a message before it goes into the sink.
    pub(crate) change: fn(MessageView) -> MessageView,
    pub(crate) context: &'a Context,
}

impl<'a, S: MessageSink> Receiving<'a, S> {
    pub(crate) fn new(sink: S, then: Then, end: EndArguments, context: &'a Context) -> Self {
        let change = |view| view;
        Receiving { sink, then, end, held: Held::default(), received: 0, progress: None, change, context }
    }

    /// Receives until the end that the arguments say.
    ///
    /// # Errors
    /// [`Error::Broker`], those of the sink, [`Error::Interrupted`]. What the sink did not flush is
    /// not settled.
    pub(crate) async fn all(
        &mut self,
        mut deliveries: impl Stream<Item = Incoming> + Unpin,
    ) -> Result<Exit, Error> {
        while let Some(first) = self.next(&mut deliveries).await? {
            self.put_batch(first, &mut deliveries).await?;
        }
        Ok(self.exit())
    }

    /// Returns the next message, or `None` at the end.
    ///
    /// # Errors
    /// [`Error::Interrupted`].
    pub(crate) async fn next(
        &self,
        deliveries: &mut (impl Stream<Item = Incoming> + Unpin),
    ) -> Result<Option<Incoming>, Error> {
        if self.room() == 0 {
            return Ok(None);
        }
        let next = async {
            Ok(match self.end.idle_timeout {
                Some(idle) => timeout(idle, deliveries.next()).await.ok().flatten(),
                None => deliveries.next().await,
            })
        };
        self.context.interrupt.or(next).await
    }

    /// Returns the program's end after all messages.
    pub(crate) fn exit(&self) -> Exit {
        if self.received == 0 { Exit::Nothing } else { Exit::Done }
    }

    /// Takes a delivery apart, and counts it.
    pub(crate) fn view(&mut self, (queue, delivery): (Option<String>, Delivery)) -> (MessageView, Acker) {
        self.received += 1;
        let (received, acker) = delivery.split();
        let mut view = MessageView::new(self.received, &received);
        view.queue = queue;
        if let Some(progress) = &mut self.progress {
            progress.show(self.received);
        }
        ((self.change)(view), acker)
    }

    /// The number of messages that may still come.
    fn room(&self) -> u64 {
        self.end.limit.map_or(u64::MAX, |limit| limit.saturating_sub(self.received))
    }

    /// Puts a message and those that have arrived behind it into the sink, and then settles them.
    async fn put_batch(
        &mut self,
        first: Incoming,
        deliveries: &mut (impl Stream<Item = Incoming> + Unpin),
    ) -> Result<(), Error> {
        let mut put: Vec<Acker> = Vec::new();
        let mut next = Some(first);
        let mut failure = None;
        while let Some(incoming) = next.take() {
            match incoming {
                Ok(delivery) => {
                    let (view, acker) = self.view(delivery);
                    self.sink.put(&view)?;
                    put.push(acker);
                }
                Err(source) => {
                    failure = Some(Error::broker("receive messages")(source));
                }
            }
            if failure.is_none() && put.len() < BATCH && self.room() > 0 {
                next = deliveries.next().now_or_never().flatten();
            }
        }
        self.sink.flush()?;
        for acker in put {
            self.held.settle(acker, self.then).await.map_err(Error::broker("settle messages"))?;
        }
        failure.map_or(Ok(()), Err)
    }
}
