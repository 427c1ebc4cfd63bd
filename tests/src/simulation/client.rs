//! A client of a run: its connection, its channels, and what it has under way.

use std::{
    collections::{BTreeMap, VecDeque},
    future::ready,
    time::Duration,
};

use amqp_client::{Backoff, Channel, Confirm, ConnectOptions, Connection, Publisher, Recovery, Uri};
use tokio::time::sleep;

use super::{
    consumer::{Held, Place, Running},
    generate::CHANNELS,
    scenario::client_name,
    topology::Name,
    world::{HEARTBEAT, World},
};

/// The number of times that a client tries to connect, a second apart: no disturbance is as long.
const ATTEMPTS: usize = 600;

/// A client.
pub(super) struct Client {
    pub(super) world: World,
    pub(super) number: usize,
    recovers: bool,
    pub(super) connection: Option<Connection>,
    pub(super) channels: [Option<UsedChannel>; CHANNELS],
    pub(super) consumers: VecDeque<Running>,
    pub(super) pending: Vec<Pending>,
    /// Deliveries that were fetched and not settled.
    pub(super) held: Vec<Held>,
    /// The number of connections that it has opened.
    pub(super) connections: usize,
    /// Queues that it began to declare without waiting for the answer, and on which connection.
    pub(super) abandoned: BTreeMap<Name, usize>,
}

/// An open channel, with a number that no other channel of the run has.
#[derive(Clone)]
pub(super) struct UsedChannel {
    pub(super) channel: Channel,
    pub(super) publisher: Publisher,
    pub(super) serial: u64,
}

/// A publish whose outcome is not known yet.
pub(super) struct Pending {
    pub(super) number: usize,
    pub(super) generation: u64,
    pub(super) confirm: Confirm,
}

impl Client {
    pub(super) fn new(world: World, number: usize, recovers: bool) -> Self {
        let (connection, channels) = (None, [None, None]);
        let (consumers, pending, held) = (VecDeque::new(), Vec::new(), Vec::new());
        let (connections, abandoned) = (0, BTreeMap::new());
        Client {
            world,
            number,
            recovers,
            connection,
            channels,
            consumers,
            pending,
            held,
            connections,
            abandoned,
        }
    }

    /// The channel of this number, which is opened when it is not there.
    pub(super) async fn channel(&mut self, channel: usize) -> Option<UsedChannel> {
        if let Some(used) = self.channels[channel].as_ref().filter(|used| !used.channel.is_closed()) {
            return Some(used.clone());
        }
        if self.connection.as_ref().is_none_or(Connection::is_closed) {
            self.connection = Some(self.connect().await?);
            self.connections += 1;
        }
        let connection = self.connection.as_ref()?;
        let channel_now = self.world.call("opening a channel", connection.open_channel()).await?;
        let publisher = self.world.call("selecting confirms", channel_now.publisher()).await?;
        let used = UsedChannel { channel: channel_now, publisher, serial: self.world.serial() };
        self.channels[channel] = Some(used.clone());
        Some(used)
    }

    async fn connect(&self) -> Option<Connection> {
        let (network, client) = (self.world.network.clone(), self.number);
        let mut options = ConnectOptions::new().name(client_name(client)).heartbeat(self.world.heartbeat());
        // The slowest links delay each part of the handshake by seconds.
        options = options.connect_timeout(6 * HEARTBEAT);
        if self.recovers {
            let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
            options = options.recovery(Recovery::new().backoff(backoff));
        }
        let uri = Uri::default();
        for _ in 0..ATTEMPTS {
            let network = network.clone();
            let connector = move || ready(network.connect(client));
            let connecting = options.connect_with(connector, &uri);
            if let Some(connection) = self.world.call("connecting", connecting).await {
                return Some(connection);
            }
            sleep(Duration::from_secs(1)).await;
        }
        self.world.log.violation(format!("client {client} cannot connect"));
        None
    }

    pub(super) fn place(&self, channel: Channel, queue: &'static str) -> Place {
        let serial = self.world.serial();
        Place { world: self.world.clone(), client: self.number, channel, queue, serial }
    }
}
