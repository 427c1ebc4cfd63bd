//! Compressed replies that wait until there is room for them.

use std::{collections::VecDeque, future::pending, time::Duration};

use amqp_client::{Acker, Delivery, Received};
use futures_util::future::BoxFuture;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::{
    compress::Budget,
    error::Malformed,
    oslo::{
        rpc::message::wire::ReceivedReply,
        wire::envelope::{self, Opened},
    },
};

/// The bytes of compressed replies that may wait. At this bound, reading pauses.
const LIMIT: usize = 64 * 1024 * 1024;
/// The longest pause in which no room becomes free. Then replies that would have to wait are
/// refused, so that others get through.
const PATIENCE: Duration = Duration::from_secs(10);

/// A reply that has been read, or refused.
pub(super) struct Reply {
    pub(super) acker: Acker,
    pub(super) read: Read,
}

/// The content of a reply.
pub(super) enum Read {
    Reply(ReceivedReply),
    Malformed(Malformed),
    /// There was no room for it.
    Refused,
}

/// The replies that wait for room, in the order in which they came. Those that are not compressed
/// need no room, and pass.
pub(super) struct Unopened {
    budget: Budget,
    /// The oldest, which is opened as soon as there is room.
    first: Option<First>,
    others: VecDeque<Waiting>,
    /// The bytes of all of them.
    bytes: usize,
    /// The end of the present pause.
    paused_until: Option<Instant>,
    /// Set when a pause has ended without any room, until some becomes free.
    stuck: bool,
}

struct First {
    bytes: usize,
    opening: BoxFuture<'static, Reply>,
}

struct Waiting {
    delivery: Delivery,
    /// The time after which no call waits for it.
    until: Instant,
}

impl Unopened {
    pub(super) fn new(budget: Budget) -> Self {
        let (first, others, bytes, paused_until, stuck) = Default::default();
        Unopened { budget, first, others, bytes, paused_until, stuck }
    }

    /// Tells whether no other reply should be read at the moment.
    pub(super) fn is_full(&self) -> bool {
        self.paused_until.is_some()
    }

    /// Opens a reply. One for which there is no room waits, at the longest until the time after
    /// which no call waits for it.
    pub(super) fn open(&mut self, delivery: Delivery, until: Instant) -> Option<Reply> {
        self.stuck &= self.first.is_some();
        let waits = self.first.is_some() && envelope::is_compressed(&delivery);
        if !waits {
            let (received, acker) = delivery.split();
            if let Some(opened) = envelope::try_open(&received, &self.budget) {
                return Some(Reply { acker, read: read(opened) });
            }
            self.bytes += received.body().len();
            self.first = Some(self.begin(received, acker, until));
        } else if self.stuck {
            return Some(Reply { acker: delivery.split().1, read: Read::Refused });
        } else {
            self.bytes += delivery.body().len();
            self.others.push_back(Waiting { delivery, until });
        }
        if self.bytes >= LIMIT {
            self.paused_until = Some(Instant::now() + PATIENCE);
        }
        None
    }

    /// Returns the next reply that had to wait; `None` when a pause has ended without one.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub(super) async fn next(&mut self) -> Option<Reply> {
        let Some(First { bytes, opening }) = &mut self.first else { return pending().await };
        let pause = async {
            match self.paused_until {
                Some(end) => sleep_until(end).await,
                None => pending().await,
            }
        };
        let reply = tokio::select! {
            biased;
            reply = opening => reply,
            () = pause => {
                self.paused_until = None;
                self.stuck = true;
                return None;
            }
        };
        self.bytes -= *bytes;
        self.first = None;
        self.stuck &= matches!(reply.read, Read::Refused);
        self.paused_until = (self.bytes >= LIMIT && !self.stuck).then(|| Instant::now() + PATIENCE);
        if let Some(Waiting { delivery, until }) = self.others.pop_front() {
            let (received, acker) = delivery.split();
            self.first = Some(self.begin(received, acker, until));
        }
        Some(reply)
    }

    fn begin(&self, received: Received, acker: Acker, until: Instant) -> First {
        let (budget, bytes) = (self.budget.clone(), received.body().len());
        let opening = async move {
            let opened = timeout_at(until, envelope::open(&received, &budget)).await;
            Reply { acker, read: opened.map_or(Read::Refused, read) }
        };
        First { bytes, opening: Box::pin(opening) }
    }
}

fn read(opened: Result<Opened, Malformed>) -> Read {
    let reply = opened.and_then(|Opened { text, room, .. }| {
        let mut reply = ReceivedReply::from_json(&text)?;
        reply.room = room;
        Ok(reply)
    });
    reply.map_or_else(Read::Malformed, Read::Reply)
}

#[cfg(feature = "memory")]
#[cfg(test)]
mod tests {
    use amqp_broker::Broker;
    use amqp_client::{ConnectOptions, Connection, ConsumeOptions, Message, Queue, Uri};
    use amqp_codec::Table;

    use super::*;
    use crate::compress::{Compression, HEADER, room::Taken};

    const TOTAL: u64 = 1024 * 1024;
    /// The length of a reply; two of them reach the bound.
    const HALF: usize = LIMIT / 2;

    /// Returns deliveries of these lengths, whose header says that they are compressed.
    async fn compressed(lengths: &[usize]) -> (Connection, Vec<Delivery>) {
        let stream = Broker::builder().build().connect();
        let connection = ConnectOptions::new().connect_stream(stream, &Uri::default()).await.unwrap();
        let channel = connection.open_channel().await.unwrap();
        channel.declare(&Queue::new("replies")).await.unwrap();
        let mut consumer = channel.consume("replies", ConsumeOptions::new()).await.unwrap();
        let publisher = channel.publisher().await.unwrap();
        let mut deliveries = Vec::new();
        for &length in lengths {
            let mut headers = Table::new();
            headers.insert(HEADER, "zlib").unwrap();
            let message = Message::new(vec![0; length]).headers(headers);
            publisher.publish(("", "replies"), message).await.unwrap().await.unwrap();
            deliveries.push(consumer.recv().await.unwrap().unwrap());
        }
        (connection, deliveries)
    }

    /// Takes room, so that none is left for a large reply.
    fn some_room(budget: &Budget) -> Option<Taken> {
        let body = Compression::Zlib.compress(&[0; 1000]).unwrap();
        budget.try_decompress(Some(Compression::Zlib), &body, TOTAL).unwrap().unwrap().1
    }

    fn is_refused(reply: Option<Reply>) -> bool {
        matches!(reply.unwrap().read, Read::Refused)
    }

    #[tokio::test(start_paused = true)]
    async fn reading_pauses_at_the_bound_and_those_without_room_are_refused_when_it_lasts() {
        let (connection, deliveries) = compressed(&[HALF, HALF, HALF, 1]).await;
        let [first, second, third, small] = <[Delivery; 4]>::try_from(deliveries).unwrap();
        let budget = Budget::new(TOTAL);
        let mut unopened = Unopened::new(budget.clone());
        let room = some_room(&budget);
        let until = Instant::now() + 10 * PATIENCE;

        assert!(unopened.open(first, until).is_none() && !unopened.is_full());
        assert!(unopened.open(second, until).is_none() && unopened.is_full());
        let paused = Instant::now();
        assert!(unopened.next().await.is_none());
        assert!((PATIENCE..PATIENCE * 2).contains(&paused.elapsed()));
        assert!(!unopened.is_full() && is_refused(unopened.open(third, until)));

        drop(room);
        assert!(!is_refused(unopened.next().await) && !is_refused(unopened.next().await));
        assert_eq!(unopened.bytes, 0);
        assert!(!is_refused(unopened.open(small, until)));
        connection.close().await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn none_waits_longer_than_its_call() {
        let (connection, deliveries) = compressed(&[HALF, 1]).await;
        let [large, small] = <[Delivery; 2]>::try_from(deliveries).unwrap();
        let budget = Budget::new(TOTAL);
        let mut unopened = Unopened::new(budget.clone());
        let _room = some_room(&budget);
        let now = Instant::now();

        assert!(unopened.open(large, now + PATIENCE / 2).is_none());
        assert!(unopened.open(small, now + PATIENCE).is_none());
        assert!(is_refused(unopened.next().await));
        assert!((PATIENCE / 2..PATIENCE).contains(&now.elapsed()));
        assert!(!is_refused(unopened.next().await));
        connection.close().await.unwrap();
    }
}
