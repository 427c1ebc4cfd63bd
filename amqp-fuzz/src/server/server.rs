//! A broker that behaves, without queues: it answers, delivers what was published, and confirms.

use std::collections::{BTreeMap, VecDeque};

use amqp_codec::{
    Frame, LongString, Method, Table, Value,
    method::{basic, channel, confirm, connection},
};

use super::{
    answers::{answer, consumer_tag},
    channel::{Channel, Consumer, Incoming, Stored},
};
use crate::{acts::publishing::REPLIES, choices::Choices, pools::text};

/// How many messages are kept to be delivered.
const KEPT: usize = 16;

/// What a server is told before it begins.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// The limits that it offers.
    pub tune: amqp_codec::Tune,
    /// Whether the login has a challenge, which PLAIN has not: the response to it is not looked at.
    pub challenges: bool,
    /// Whether it closes channels now and then, as an operator or a policy may.
    pub closes: bool,
}

/// RabbitMQ's limits; neither challenges nor closes.
impl Default for ServerOptions {
    fn default() -> Self {
        let tune = amqp_codec::Tune { channel_max: 2047, frame_max: 131_072, heartbeat: 60 };
        ServerOptions { tune, challenges: false, closes: false }
    }
}

/// A broker that behaves, to find faults in clients with: what it sends is valid, but nothing is
/// what a particular broker would have sent. [`Mutator`](crate::Mutator) breaks it.
///
/// It has no socket. Each frame of the client is given to [`received`](Server::received), whose
/// frames are sent at once; [`next`](Server::next) has what it sends unasked: deliveries, confirms,
/// and the like. It refuses nothing.
#[derive(Clone, Debug)]
pub struct Server {
    options: ServerOptions,
    channels: BTreeMap<u16, Channel>,
    stored: VecDeque<Stored>,
    is_open: bool,
    is_ended: bool,
    is_blocked: bool,
    tells_blocked: bool,
}

impl Server {
    /// A server whose client has not connected.
    pub fn new(options: ServerOptions) -> Self {
        Server {
            options,
            channels: BTreeMap::new(),
            stored: VecDeque::new(),
            is_open: false,
            is_ended: false,
            is_blocked: false,
            tells_blocked: false,
        }
    }

    /// The first frame, which answers the client's protocol header.
    pub fn start(&self) -> Frame {
        let mut capabilities = Table::new();
        for name in ["publisher_confirms", "basic.nack", "consumer_cancel_notify", "connection.blocked"] {
            let _ = capabilities.insert(name, true);
        }
        let mut server_properties = Table::new();
        let _ = server_properties.insert("product", "amqp-fuzz");
        let _ = server_properties.insert("capabilities", capabilities);
        let start = connection::Start {
            version_major: 0,
            version_minor: 9,
            server_properties,
            mechanisms: LongString::from_static("PLAIN AMQPLAIN"),
            locales: LongString::from_static("en_US"),
        };
        Frame::Method(0, start.into())
    }

    /// Takes a frame of the client. Returns what is sent at once.
    pub fn received(&mut self, frame: &Frame, choices: &mut Choices<'_>) -> Vec<Frame> {
        match frame {
            Frame::Heartbeat(_) => Vec::new(),
            Frame::Method(0, method) => {
                let answers = self.connection(method, choices);
                answers.into_iter().map(|method| Frame::Method(0, method)).collect()
            }
            Frame::Method(number, method) => self.method(*number, method, choices),
            Frame::Header(number, header) => {
                let Some(channel) = self.channels.get_mut(number) else { return Vec::new() };
                if let Some(incoming) = channel.incoming.as_mut() {
                    incoming.header = Some(header.clone());
                }
                self.complete(*number, choices)
            }
            Frame::Body(number, body) => {
                let Some(channel) = self.channels.get_mut(number) else { return Vec::new() };
                if let Some(incoming) = channel.incoming.as_mut() {
                    incoming.received += body.len() as u64;
                    incoming.body.push(body.clone());
                }
                self.complete(*number, choices)
            }
        }
    }

    /// What the server sends unasked; often nothing.
    pub fn next(&mut self, choices: &mut Choices<'_>) -> Vec<Frame> {
        if !self.is_open || self.is_ended {
            return Vec::new();
        }
        let numbers: Vec<_> =
            self.channels.iter().filter(|(_, it)| !it.is_closing).map(|(number, _)| *number).collect();
        let number = choices.pick(&numbers).copied();
        match (choices.below(16), number) {
            (0..8, Some(number)) => self.deliver(number, choices).unwrap_or_default(),
            (8..12, Some(number)) => self.confirm(number, choices).map(|it| vec![it]).unwrap_or_default(),
            (12, Some(number)) => vec![Frame::Method(number, channel::Flow { active: true }.into())],
            (13, Some(number)) if choices.one_in(4) => {
                self.cancel(number, choices).map(|it| vec![it]).unwrap_or_default()
            }
            (14, Some(number)) if self.options.closes && choices.one_in(8) => {
                if let Some(channel) = self.channels.get_mut(&number) {
                    channel.is_closing = true;
                }
                let close = channel::Close {
                    reply_code: 406,
                    reply_text: text("PRECONDITION_FAILED - closed"),
                    ..Default::default()
                };
                vec![Frame::Method(number, close.into())]
            }
            (14, _) if self.tells_blocked => {
                self.is_blocked = !self.is_blocked;
                let method: Method = match self.is_blocked {
                    true => connection::Blocked { reason: text("low on memory") }.into(),
                    false => connection::Unblocked {}.into(),
                };
                vec![Frame::Method(0, method)]
            }
            (15, _) => vec![Frame::Heartbeat(0)],
            _ => Vec::new(),
        }
    }

    /// Returns whether the handshake is complete.
    pub fn is_open(&self) -> bool {
        self.is_open
    }

    /// Returns whether the connection has been closed.
    pub fn is_ended(&self) -> bool {
        self.is_ended
    }

    /// The close of the connection by the server, which the client has to answer.
    pub fn close(&mut self) -> Frame {
        self.is_open = false;
        let reply_text = text("CONNECTION_FORCED - closed");
        Frame::Method(0, connection::Close { reply_code: 320, reply_text, ..Default::default() }.into())
    }

    fn connection(&mut self, method: &Method, choices: &mut Choices<'_>) -> Option<Method> {
        let Method::Connection(method) = method else { return None };
        match method {
            connection::Method::StartOk(start_ok) => {
                let capabilities = start_ok.client_properties.get("capabilities");
                let capabilities = capabilities.as_ref().and_then(Value::as_table);
                let blocked = capabilities.and_then(|table| table.get("connection.blocked"));
                self.tells_blocked = blocked.and_then(|it| it.as_bool()).unwrap_or_default();
                match self.options.challenges {
                    true => Some(connection::Secure { challenge: "who?".into() }.into()),
                    false => Some(self.tune()),
                }
            }
            connection::Method::SecureOk(_) => Some(self.tune()),
            connection::Method::Open(_) => {
                self.is_open = true;
                Some(connection::OpenOk::default().into())
            }
            connection::Method::Close(_) => {
                self.is_ended = true;
                Some(connection::CloseOk {}.into())
            }
            connection::Method::CloseOk(_) => {
                self.is_ended = true;
                None
            }
            other => answer(&Method::Connection(other.clone()), choices),
        }
    }

    fn tune(&self) -> Method {
        let amqp_codec::Tune { channel_max, frame_max, heartbeat } = self.options.tune;
        connection::Tune { channel_max, frame_max, heartbeat }.into()
    }

    fn method(&mut self, number: u16, method: &Method, choices: &mut Choices<'_>) -> Vec<Frame> {
        if let Method::Channel(channel::Method::Open(_)) = method {
            self.channels.insert(number, Channel::default());
        }
        let Some(channel) = self.channels.get_mut(&number) else { return Vec::new() };
        let is_over = match method {
            Method::Channel(channel::Method::CloseOk(_)) => channel.is_closing,
            // A close that crosses the server's is answered, and ends nothing yet.
            Method::Channel(channel::Method::Close(_)) => !channel.is_closing,
            _ if channel.is_closing => return Vec::new(),
            _ => false,
        };
        if is_over {
            self.channels.remove(&number);
            return answer(method, choices).map(|it| Frame::Method(number, it)).into_iter().collect();
        }
        let reply = answer(method, choices);
        match method {
            Method::Basic(method) => {
                if let basic::Method::Get(_) = method {
                    return self.get(number, choices);
                }
                self.basic(number, method, reply.as_ref());
            }
            Method::Confirm(confirm::Method::Select(_)) => {
                channel.published = if channel.confirms { channel.published } else { 0 };
                channel.confirms = true;
            }
            _ => {}
        }
        reply.map(|it| Frame::Method(number, it)).into_iter().collect()
    }

    fn basic(&mut self, number: u16, method: &basic::Method, reply: Option<&Method>) {
        let Some(channel) = self.channels.get_mut(&number) else { return };
        match method {
            basic::Method::Publish(publish) => {
                let publish = publish.clone();
                channel.incoming = Some(Incoming { publish, header: None, body: Vec::new(), received: 0 });
            }
            // Replies have no numbers of their own, and nobody sends any.
            basic::Method::Consume(consume) if consume.queue == REPLIES => {}
            basic::Method::Consume(consume) => {
                let tag = consumer_tag(consume, reply);
                let prefetch = channel.prefetch;
                let consumer = Consumer { no_ack: consume.no_ack, prefetch, unsettled: [].into() };
                channel.consumers.insert(tag, consumer);
            }
            basic::Method::Cancel(cancel) => {
                channel.consumers.remove(&cancel.consumer_tag);
            }
            basic::Method::Qos(qos) if qos.global => channel.global_prefetch = qos.prefetch_count,
            basic::Method::Qos(qos) => channel.prefetch = qos.prefetch_count,
            basic::Method::Ack(ack) => channel.settle(ack.delivery_tag, ack.multiple),
            basic::Method::Nack(nack) => channel.settle(nack.delivery_tag, nack.multiple),
            basic::Method::Reject(reject) => channel.settle(reject.delivery_tag, false),
            basic::Method::Recover(_) | basic::Method::RecoverAsync(_) => channel.settle(0, true),
            _ => {}
        }
    }

    fn get(&mut self, number: u16, choices: &mut Choices<'_>) -> Vec<Frame> {
        let (Some(channel), Some(stored)) = (self.channels.get_mut(&number), self.stored.front()) else {
            return vec![Frame::Method(number, basic::GetEmpty::default().into())];
        };
        channel.last_delivery += 1;
        let get_ok = basic::GetOk {
            delivery_tag: channel.last_delivery,
            redelivered: choices.one_in(4),
            exchange: stored.publish.exchange.clone(),
            routing_key: stored.publish.routing_key.clone(),
            message_count: choices.below(5) as u32,
        };
        [Frame::Method(number, get_ok.into())].into_iter().chain(stored.content(number)).collect()
    }

    /// The content of a publish may be complete: it is kept, and returned if it must be.
    fn complete(&mut self, number: u16, choices: &mut Choices<'_>) -> Vec<Frame> {
        let Some(channel) = self.channels.get_mut(&number) else { return Vec::new() };
        let is_whole = |incoming: &mut Incoming| {
            incoming.header.as_ref().is_some_and(|header| header.body_size <= incoming.received)
        };
        let Some(Incoming { publish, header: Some(header), body, .. }) = channel.incoming.take_if(is_whole)
        else {
            return Vec::new();
        };
        channel.published += 1;
        if channel.confirms {
            channel.unconfirmed.insert(channel.published);
        }
        let stored = Stored { publish, header, body };
        let is_returned = stored.publish.mandatory && choices.one_in(2);
        if self.stored.len() == KEPT {
            self.stored.pop_front();
        }
        self.stored.push_back(stored.clone());
        if !is_returned {
            return Vec::new();
        }
        let basic::Publish { exchange, routing_key, .. } = stored.publish.clone();
        let returned = basic::Return { reply_code: 312, reply_text: text("NO_ROUTE"), exchange, routing_key };
        [Frame::Method(number, returned.into())].into_iter().chain(stored.content(number)).collect()
    }

    fn deliver(&mut self, number: u16, choices: &mut Choices<'_>) -> Option<Vec<Frame>> {
        let channel = self.channels.get(&number)?;
        let ready: Vec<_> = channel
            .consumers
            .iter()
            .filter(|(_, it)| channel.has_room(it))
            .map(|(tag, _)| tag.clone())
            .collect();
        let consumer_tag = choices.pick(&ready)?.clone();
        let stored = self.stored.get(choices.below(self.stored.len()))?;
        let channel = self.channels.get_mut(&number)?;
        channel.last_delivery += 1;
        let consumer = channel.consumers.get_mut(&consumer_tag)?;
        if !consumer.no_ack {
            consumer.unsettled.insert(channel.last_delivery);
        }
        let deliver = basic::Deliver {
            consumer_tag,
            delivery_tag: channel.last_delivery,
            redelivered: choices.one_in(4),
            exchange: stored.publish.exchange.clone(),
            routing_key: stored.publish.routing_key.clone(),
        };
        Some([Frame::Method(number, deliver.into())].into_iter().chain(stored.content(number)).collect())
    }

    /// Confirms some publishes, one or all up to one.
    fn confirm(&mut self, number: u16, choices: &mut Choices<'_>) -> Option<Frame> {
        let channel = self.channels.get_mut(&number)?;
        let tags: Vec<_> = channel.unconfirmed.iter().copied().collect();
        let delivery_tag = *choices.pick(&tags)?;
        let multiple = choices.one_in(2);
        channel.unconfirmed.retain(|tag| if multiple { *tag > delivery_tag } else { *tag != delivery_tag });
        let method: Method = match choices.one_in(5) {
            true => basic::Nack { delivery_tag, multiple, requeue: false }.into(),
            false => basic::Ack { delivery_tag, multiple }.into(),
        };
        Some(Frame::Method(number, method))
    }

    /// Ends a consumer, as when its queue is deleted.
    fn cancel(&mut self, number: u16, choices: &mut Choices<'_>) -> Option<Frame> {
        let channel = self.channels.get_mut(&number)?;
        let tags: Vec<_> = channel.consumers.keys().cloned().collect();
        let consumer_tag = choices.pick(&tags)?.clone();
        channel.consumers.remove(&consumer_tag);
        let no_wait = choices.one_in(2);
        Some(Frame::Method(number, basic::Cancel { consumer_tag, no_wait }.into()))
    }
}
