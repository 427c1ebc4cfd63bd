//! Floods: clients that make a broker hold much while they send little or nothing, in places that a
//! broker may fail to count.

use std::{fmt, io, time::Duration};

use amqp_codec::{
    Frame, PERSISTENT, Properties, ShortString, Table, Value,
    method::{basic, queue},
};
use futures_util::future::join_all;
use tokio::time::timeout;

use super::frames::{Frames, large_header, table};
use crate::raw_client::{FRAME_MAX, RawClient, body_part, publish, publish_without_body, short};

/// The connections that publish to a durable queue.
const PUBLISHERS: usize = 4;
/// The length limit of their queue, so that the queue itself holds little.
const DURABLE_LENGTH: i32 = 100;
/// The queue from which direct replies are consumed.
const REPLY_TO: &str = "amq.rabbitmq.reply-to";
const MEGABYTE: usize = 1_000_000;

/// A flood and its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flood {
    /// Publishes one-byte messages to a fanout, all in one write.
    Fanout {
        /// The queues of the fanout.
        queues: usize,
        /// The publishes.
        publishes: usize,
    },
    /// Publishes once into a tree of fanouts, each with two queues of length zero that dead-letter
    /// to the next.
    DeadLetterTree {
        /// The number of fanouts.
        levels: usize,
        /// The size of the message's header, in octets.
        header: usize,
    },
    /// Publishes only method and header, without the body, on each channel.
    UnfinishedHeaders {
        /// The number of connections.
        connections: usize,
        /// The number of channels of each.
        channels: u16,
        /// The size of each header, in octets.
        header: usize,
    },
    /// Requests direct replies and does not read them.
    UnreadReplies {
        /// The number of clients.
        clients: usize,
        /// The replies to each, of a megabyte.
        replies: usize,
    },
    /// Publishes persistent messages with large headers and no body to a short durable queue.
    DurableHeaders {
        /// The number of publishes, over four connections.
        publishes: usize,
        /// The size of each header, in octets.
        header: usize,
    },
    /// Publishes on each channel of one connection to a fanout whose queues keep nothing.
    CachedRoutes {
        /// The number of channels.
        channels: u16,
        /// The queues of the fanout.
        queues: usize,
    },
    /// Publishes bodies that lack the last octet.
    UnfinishedBodies {
        /// The number of connections, each with one publish.
        connections: usize,
        /// The size of each body, in octets.
        body: usize,
    },
}

/// The result of a flood. Its connections stay open as long as it is kept.
#[derive(Debug)]
pub struct Flooded {
    /// The connections that are still open, as far as noticed.
    pub clients: Vec<RawClient>,
    /// How many connections the broker stopped reading, or did not answer.
    pub stalled: usize,
    /// How many connections the broker closed.
    pub closed: usize,
}

impl Flood {
    /// All floods, at the sizes at which they were found.
    pub const ALL: [Self; 8] = [
        Self::Fanout { queues: 10_000, publishes: 2_000 },
        Self::Fanout { queues: 50_000, publishes: 2_000 },
        Self::DeadLetterTree { levels: 20, header: 100_000 },
        Self::UnfinishedHeaders { connections: 8, channels: 2_047, header: 130_000 },
        Self::UnreadReplies { clients: 30, replies: 100 },
        Self::DurableHeaders { publishes: 10_000, header: 120_000 },
        Self::CachedRoutes { channels: 1_000, queues: 30_000 },
        Self::UnfinishedBodies { connections: 8, body: 8 << 20 },
    ];

    /// Executes the flood in the virtual host `vhost`. A connection that accepts nothing for
    /// `patience` is abandoned.
    ///
    /// # Errors
    /// When what it needs cannot be declared.
    pub async fn run(self, address: &str, vhost: &str, patience: Duration) -> io::Result<Flooded> {
        let mut client = RawClient::connect(address, vhost).await?;
        let bytes = match self {
            Self::Fanout { queues, publishes } => {
                declare_fanout(&mut client, queues, Table::new()).await?;
                publish(1, "x", "", &Properties::default(), b"x")?.repeat(publishes)
            }
            Self::DeadLetterTree { levels, header } => {
                declare_tree(&mut client, levels).await?;
                publish(1, "0", "", &large_header(header)?, b"x")?.to_vec()
            }
            Self::CachedRoutes { channels, queues } => {
                declare_fanout(&mut client, queues, table([("x-max-length", Value::I32(0))])?).await?;
                publish_on_each_channel(&mut client, channels).await?
            }
            Self::UnreadReplies { clients, replies } => {
                return ask_and_answer(client, address, vhost, clients, replies, patience).await;
            }
            Self::UnfinishedHeaders { connections, channels, header } => {
                let bytes = unfinished_headers(channels, header)?;
                return on_connections(address, vhost, connections, channels, &bytes, patience).await;
            }
            Self::DurableHeaders { publishes, header } => {
                let arguments = table([("x-max-length", Value::I32(DURABLE_LENGTH))])?;
                let queue =
                    queue::Declare { queue: short("q")?, durable: true, arguments, ..Default::default() };
                client.call(1, queue).await?;
                let persistent = Properties { delivery_mode: Some(PERSISTENT), ..large_header(header)? };
                let bytes = publish(1, "", "q", &persistent, b"")?.repeat(publishes / PUBLISHERS);
                return on_connections(address, vhost, PUBLISHERS, 1, &bytes, patience).await;
            }
            Self::UnfinishedBodies { connections, body } => {
                return on_connections(address, vhost, connections, 1, &unfinished_body(body)?, patience)
                    .await;
            }
        };
        let sent = send(&mut client, &bytes, patience).await;
        Ok(Flooded::of([(client, sent)]))
    }
}

impl Flooded {
    fn of(clients: impl IntoIterator<Item = (RawClient, SendOutcome)>) -> Self {
        let mut flooded = Self { clients: Vec::new(), stalled: 0, closed: 0 };
        for (client, sent) in clients {
            flooded.stalled += usize::from(sent == SendOutcome::Stalled);
            flooded.closed += usize::from(sent == SendOutcome::Closed);
            flooded.clients.push(client);
        }
        flooded
    }
}

impl fmt::Display for Flood {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fanout { queues, publishes } => write!(f, "{publishes} publishes to {queues} queues"),
            Self::DeadLetterTree { levels, header } => {
                write!(f, "dead letters of {header} octets through {levels} fanouts of two full queues")
            }
            Self::UnfinishedHeaders { connections, channels, header } => {
                write!(f, "{connections} x {channels} headers of {header} octets without bodies")
            }
            Self::UnreadReplies { clients, replies } => {
                write!(f, "{clients} clients that do not read {replies} MB of direct replies each")
            }
            Self::DurableHeaders { publishes, header } => {
                write!(f, "{publishes} persistent headers of {header} octets")
            }
            Self::CachedRoutes { channels, queues } => {
                write!(f, "{channels} channels that publish to {queues} queues")
            }
            Self::UnfinishedBodies { connections, body } => {
                write!(f, "{connections} unfinished bodies of {body} octets")
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum SendOutcome {
    All,
    Stalled,
    Closed,
}

/// Sends in parts, so that progress can be seen. What has to be sent in one write is smaller than a
/// part.
async fn send(client: &mut RawClient, bytes: &[u8], patience: Duration) -> SendOutcome {
    for part in bytes.chunks(256 << 10) {
        match timeout(patience, client.write(part)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return SendOutcome::Closed,
            Err(_) => return SendOutcome::Stalled,
        }
    }
    SendOutcome::All
}

/// Sends the same on several connections at once.
async fn on_connections(
    address: &str,
    vhost: &str,
    connections: usize,
    channels: u16,
    bytes: &[u8],
    patience: Duration,
) -> io::Result<Flooded> {
    let connection = async || {
        let mut client = RawClient::connect(address, vhost).await?;
        for channel in 2..=channels {
            client.open_channel(channel).await?;
        }
        let sent = send(&mut client, bytes, patience).await;
        Ok((client, sent))
    };
    let clients = join_all((0..connections).map(|_| connection())).await;
    Ok(Flooded::of(clients.into_iter().collect::<io::Result<Vec<_>>>()?))
}

/// Declares the fanout `x` with so many queues.
async fn declare_fanout(client: &mut RawClient, queues: usize, arguments: Table) -> io::Result<()> {
    let mut frames = Frames::to(client);
    frames.exchange("x", "fanout").await?;
    for number in 0..queues {
        let name = number.to_string();
        frames.queue(&name, arguments.clone()).await?;
        frames.bind(&name, "x", "", Table::new()).await?;
    }
    frames.done("0").await.map(drop)
}

/// Declares fanouts named by numbers from 0, each with two queues of length zero whose dead letters
/// go to the next.
async fn declare_tree(client: &mut RawClient, levels: usize) -> io::Result<()> {
    let mut frames = Frames::to(client);
    for level in 0..levels {
        let (exchange, next) = (level.to_string(), (level + 1).to_string());
        frames.exchange(&exchange, "fanout").await?;
        for side in ["left", "right"] {
            let queue = format!("{side}{level}");
            let dead_letters = ("x-dead-letter-exchange", Value::from(next.as_str()));
            frames.queue(&queue, table([("x-max-length", Value::I32(0)), dead_letters])?).await?;
            frames.bind(&queue, &exchange, "", Table::new()).await?;
        }
    }
    frames.done("left0").await.map(drop)
}

async fn publish_on_each_channel(client: &mut RawClient, channels: u16) -> io::Result<Vec<u8>> {
    let mut bytes = publish(1, "x", "", &Properties::default(), b"x")?.to_vec();
    for channel in 2..=channels {
        client.open_channel(channel).await?;
        bytes.extend(publish(channel, "x", "", &Properties::default(), b"x")?);
    }
    Ok(bytes)
}

fn unfinished_headers(channels: u16, header: usize) -> io::Result<Vec<u8>> {
    let properties = large_header(header)?;
    let mut bytes = Vec::new();
    for channel in 1..=channels {
        bytes.extend(publish_without_body(channel, "q", &properties, 1)?);
    }
    Ok(bytes)
}

fn unfinished_body(length: usize) -> io::Result<Vec<u8>> {
    let part = vec![b'x'; FRAME_MAX - 8];
    let mut bytes = publish_without_body(1, "q", &Properties::default(), length as u64 + 1)?.to_vec();
    let mut left = length;
    while left > 0 {
        let size = left.min(part.len());
        bytes.extend(body_part(1, &part[..size])?);
        left -= size;
    }
    Ok(bytes)
}

/// Makes clients send requests, and one client answer all of them.
async fn ask_and_answer(
    mut answering: RawClient,
    address: &str,
    vhost: &str,
    clients: usize,
    replies: usize,
    patience: Duration,
) -> io::Result<Flooded> {
    answering.call(1, queue::Declare { queue: short("q")?, ..Default::default() }).await?;
    let body = vec![b'x'; MEGABYTE];
    let mut bytes = Vec::new();
    let mut asking = Vec::new();
    for _ in 0..clients {
        let mut client = RawClient::connect(address, vhost).await?;
        let reply_to = ShortString::from_static(REPLY_TO);
        let consume = basic::Consume { queue: reply_to.clone(), no_ack: true, ..Default::default() };
        client.call(1, consume).await?;
        let request = Properties { reply_to: Some(reply_to), ..Default::default() };
        client.publish("", "q", &request, b"").await?;
        client.ready("q").await?;
        bytes.push(publish(1, "", &request_of(&mut answering).await?, &Properties::default(), &body)?);
        asking.push(client);
    }
    let mut sent = SendOutcome::All;
    for reply in (0..replies).flat_map(|_| &bytes) {
        if sent == SendOutcome::All {
            sent = send(&mut answering, reply, patience).await;
        }
    }
    let flooded = Flooded::of([(answering, sent)]);
    Ok(Flooded { clients: flooded.clients.into_iter().chain(asking).collect(), ..flooded })
}

/// Takes one request from the queue `q`; returns where its reply goes.
async fn request_of(client: &mut RawClient) -> io::Result<String> {
    client.send(1, basic::Get { queue: short("q")?, no_ack: true, ..Default::default() }).await?;
    client.expect::<basic::GetOk>(1).await?;
    let Frame::Header(1, header) = client.next().await? else {
        return Err(io::Error::other("a content header was due"));
    };
    let properties = header.properties.decode().map_err(io::Error::other)?;
    let reply_to = properties.reply_to.ok_or_else(|| io::Error::other("a request without reply_to"))?;
    Ok(reply_to.to_text().into_owned())
}
