//! A broker that answers every request, one frame at a time; its answers show which request they
//! are for.

use std::collections::{BTreeSet, HashMap};

use amqp_codec::{
    Frame, Method, Properties, ShortString, Tune,
    frame::PROTOCOL_HEADER,
    method::{basic, channel, confirm, connection, exchange, queue, tx},
};
use futures_util::FutureExt as _;
use tests::{Peer, peer::content};
use tokio::io::AsyncReadExt as _;

use super::all_idle;

/// The peer, and what it knows of the client.
pub(super) struct Obliging {
    peer: Peer,
    channels: HashMap<u16, Channel>,
    /// The deliveries that the client has not settled: channel and tag.
    pub(super) unsettled: BTreeSet<(u16, u64)>,
    /// The consumers that it has not cancelled: channel and tag.
    pub(super) consumers: BTreeSet<(u16, String)>,
    /// Whether the close of the connection was answered.
    pub(super) has_closed: bool,
}

#[derive(Default)]
struct Channel {
    /// The number of publishes so far, in confirm mode.
    published: Option<u64>,
    /// How many bytes of the current publish are still to come.
    body_left: Option<u64>,
    delivered: u64,
}

impl Obliging {
    pub(super) fn new(peer: Peer) -> Self {
        Obliging {
            peer,
            channels: HashMap::new(),
            unsettled: BTreeSet::new(),
            consumers: BTreeSet::new(),
            has_closed: false,
        }
    }

    /// Waits for the protocol header, and begins the handshake.
    pub(super) async fn greet(&mut self) {
        self.peer.greet().await;
    }

    /// Checks that the client ends the stream before it is answered.
    pub(super) async fn expect_no_more_than_a_protocol_header(self) {
        let mut sent = Vec::new();
        super::ends(self.peer.into_stream().read_to_end(&mut sent)).await.unwrap();
        assert!(PROTOCOL_HEADER.starts_with(&sent), "{sent:?}");
    }

    /// The channels that the client has not closed.
    pub(super) fn open_channels(&self) -> BTreeSet<u16> {
        self.channels.keys().copied().collect()
    }

    /// Answers until the client ends the stream.
    pub(super) async fn attend(&mut self) {
        while let Some(frame) = self.peer.receive_unless_ended().await {
            self.answer(frame).await;
        }
    }

    /// Reads what is left of a client that is gone and reads no answers.
    pub(super) async fn hear_out(&mut self) {
        while self.peer.receive_unless_ended().await.is_some() {}
    }

    /// Lets the client run until it waits, then answers one frame, if there is one.
    pub(super) async fn step(&mut self) -> bool {
        all_idle().await;
        let frame = self.peer.receive_unless_ended().now_or_never().flatten();
        let has_come = frame.is_some();
        if let Some(frame) = frame {
            self.answer(frame).await;
        }
        all_idle().await;
        has_come
    }

    /// Answers everything, for long enough that the client delays nothing further.
    pub(super) async fn settle(&mut self) {
        for _ in 0..3 {
            while self.step().await {}
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }

    /// Sends a delivery whose body is its tag.
    pub(super) async fn deliver(&mut self, channel: u16, consumer: &str) {
        let delivery_tag = self.next_delivery(channel);
        let deliver = basic::Deliver {
            consumer_tag: short(consumer),
            delivery_tag,
            redelivered: false,
            exchange: ShortString::EMPTY,
            routing_key: ShortString::EMPTY,
        };
        self.peer.send_content(channel, deliver, &Properties::default(), delivery_tag.to_string()).await;
    }

    fn next_delivery(&mut self, channel: u16) -> u64 {
        let on = self.channels.get_mut(&channel).unwrap();
        on.delivered += 1;
        self.unsettled.insert((channel, on.delivered));
        on.delivered
    }

    async fn answer(&mut self, frame: Frame) {
        let answers = match frame {
            Frame::Method(0, Method::Connection(method)) => self.on_connection(method),
            Frame::Method(on, method) => self.on_channel(on, method),
            Frame::Header(on, header) => {
                self.channels.get_mut(&on).unwrap().body_left = Some(header.body_size);
                self.published(on, 0)
            }
            Frame::Body(on, body) => self.published(on, body.len() as u64),
            Frame::Heartbeat(_) => Vec::new(),
        };
        if !answers.is_empty() {
            self.peer.send_frames(answers).await;
        }
    }

    fn on_connection(&mut self, method: connection::Method) -> Vec<Frame> {
        let Tune { channel_max, frame_max, heartbeat } = super::QUIET;
        let answer: Method = match method {
            connection::Method::StartOk(_) => connection::Tune { channel_max, frame_max, heartbeat }.into(),
            connection::Method::TuneOk(_) => return Vec::new(),
            connection::Method::Open(_) => connection::OpenOk::default().into(),
            connection::Method::UpdateSecret(_) => connection::UpdateSecretOk {}.into(),
            connection::Method::Close(_) => {
                self.has_closed = true;
                self.channels.clear();
                self.consumers.clear();
                self.unsettled.clear();
                connection::CloseOk {}.into()
            }
            other => panic!("{other:?}"),
        };
        vec![Frame::Method(0, answer)]
    }

    fn on_channel(&mut self, on: u16, method: Method) -> Vec<Frame> {
        let answer: Method = match method {
            Method::Channel(channel::Method::Open(_)) => {
                let before = self.channels.insert(on, Channel::default());
                assert!(before.is_none(), "channel {on} is open");
                channel::OpenOk::default().into()
            }
            _ if !self.channels.contains_key(&on) => panic!("channel {on} is not open: {method:?}"),
            Method::Channel(channel::Method::Close(_)) => {
                self.channels.remove(&on);
                self.consumers.retain(|(channel, _)| *channel != on);
                self.unsettled.retain(|(channel, _)| *channel != on);
                channel::CloseOk {}.into()
            }
            Method::Channel(channel::Method::Flow(flow)) => channel::FlowOk { active: flow.active }.into(),
            Method::Exchange(exchange::Method::Declare(declare)) if declare.no_wait => return Vec::new(),
            Method::Queue(queue::Method::Declare(declare)) if declare.no_wait => return Vec::new(),
            Method::Exchange(method) => on_exchange(&method),
            Method::Queue(method) => on_queue(&method),
            Method::Basic(method) => return self.on_basic(on, method),
            Method::Confirm(_) => {
                self.channels.get_mut(&on).unwrap().published.get_or_insert(0);
                confirm::SelectOk {}.into()
            }
            Method::Tx(tx::Method::Select(_)) => tx::SelectOk {}.into(),
            Method::Tx(tx::Method::Commit(_)) => tx::CommitOk {}.into(),
            Method::Tx(tx::Method::Rollback(_)) => tx::RollbackOk {}.into(),
            other => panic!("{other:?}"),
        };
        vec![Frame::Method(on, answer)]
    }

    fn on_basic(&mut self, on: u16, method: basic::Method) -> Vec<Frame> {
        let answer: Method = match method {
            basic::Method::Publish(_) => return Vec::new(),
            basic::Method::Qos(_) => basic::QosOk {}.into(),
            basic::Method::Consume(consume) => {
                self.consumers.insert((on, consume.consumer_tag.to_string()));
                basic::ConsumeOk { consumer_tag: consume.consumer_tag }.into()
            }
            basic::Method::Cancel(cancel) => {
                self.consumers.remove(&(on, cancel.consumer_tag.to_string()));
                basic::CancelOk { consumer_tag: cancel.consumer_tag }.into()
            }
            basic::Method::Get(get) => {
                let delivery_tag = self.next_delivery(on);
                if get.no_ack {
                    self.unsettled.remove(&(on, delivery_tag));
                }
                let ok = basic::GetOk { delivery_tag, ..Default::default() };
                return content(on, ok, &Properties::default(), get.queue.to_string(), 4096);
            }
            basic::Method::Ack(ack) => return self.settled(on, ack.delivery_tag, ack.multiple),
            basic::Method::Nack(nack) => return self.settled(on, nack.delivery_tag, nack.multiple),
            basic::Method::Reject(reject) => return self.settled(on, reject.delivery_tag, false),
            basic::Method::Recover(_) => {
                self.unsettled.retain(|(channel, _)| *channel != on);
                basic::RecoverOk {}.into()
            }
            other => panic!("{other:?}"),
        };
        vec![Frame::Method(on, answer)]
    }

    fn settled(&mut self, on: u16, tag: u64, multiple: bool) -> Vec<Frame> {
        let known = self.unsettled.remove(&(on, tag));
        assert!(known, "delivery {tag} on channel {on} is settled twice");
        if multiple {
            self.unsettled.retain(|(channel, other)| *channel != on || *other > tag);
        }
        Vec::new()
    }

    fn published(&mut self, on: u16, body: u64) -> Vec<Frame> {
        let channel = self.channels.get_mut(&on).unwrap();
        channel.body_left = channel.body_left.map(|left| left - body);
        if channel.body_left != Some(0) {
            return Vec::new();
        }
        channel.body_left = None;
        let Some(published) = &mut channel.published else { return Vec::new() };
        *published += 1;
        vec![Frame::Method(on, basic::Ack { delivery_tag: *published, multiple: false }.into())]
    }
}

/// The number of messages that a queue of this name is said to have.
pub(super) fn count_of(queue: &str) -> u32 {
    queue.bytes().map(u32::from).sum()
}

fn on_exchange(method: &exchange::Method) -> Method {
    match method {
        exchange::Method::Declare(_) => exchange::DeclareOk {}.into(),
        exchange::Method::Delete(_) => exchange::DeleteOk {}.into(),
        exchange::Method::Bind(_) => exchange::BindOk {}.into(),
        exchange::Method::Unbind(_) => exchange::UnbindOk {}.into(),
        other => panic!("{other:?}"),
    }
}

fn on_queue(method: &queue::Method) -> Method {
    let count = |queue: &ShortString| count_of(queue.as_str().unwrap());
    match method {
        queue::Method::Declare(declare) => {
            let (queue, message_count) = (declare.queue.clone(), count(&declare.queue));
            queue::DeclareOk { queue, message_count, consumer_count: 0 }.into()
        }
        queue::Method::Bind(_) => queue::BindOk {}.into(),
        queue::Method::Unbind(_) => queue::UnbindOk {}.into(),
        queue::Method::Purge(purge) => queue::PurgeOk { message_count: count(&purge.queue) }.into(),
        queue::Method::Delete(delete) => queue::DeleteOk { message_count: count(&delete.queue) }.into(),
        other => panic!("{other:?}"),
    }
}

fn short(text: &str) -> ShortString {
    ShortString::new("a name", text).unwrap()
}
