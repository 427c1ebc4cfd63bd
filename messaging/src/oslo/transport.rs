//! The methods of a transport for RPC and notifications.

use crate::{
    compress::Compression,
    oslo::{
        notify::{
            drivers::Messaging,
            emit::notifier::Notifier,
            listen::{batch_listener::BatchListener, listener::Listener},
        },
        rpc::{client::Client, server::Server},
        settings::topology::Topology,
        wire::target::Target,
    },
    transport::Transport,
    transport_options::TransportOptions,
};

impl Transport {
    /// Returns a client that calls the methods of a target.
    #[must_use]
    pub fn rpc_client(&self, target: Target) -> Client {
        Client::new(self, target)
    }

    /// Returns a server of the target's topic, under the target's server name, or a unique id if
    /// there is none. [`Server::start`] starts it.
    #[must_use]
    pub fn rpc_server(&self, target: Target) -> Server {
        Server::new(self, target)
    }

    /// Returns a notifier for a publisher, by convention `service.host`, to one topic of the
    /// broker, by convention `notifications`. It has the driver [`Messaging`], enveloped. See
    /// [`Notifier::new`] for other drivers.
    #[must_use]
    pub fn notifier(&self, publisher_id: &str, topic: impl Into<String>) -> Notifier {
        Notifier::new(publisher_id).driver(self.notification_driver(topic))
    }

    /// Returns a driver that emits notifications to one topic of the broker, for notifiers that
    /// have several drivers and for buffers.
    #[must_use]
    pub fn notification_driver(&self, topic: impl Into<String>) -> Messaging {
        Messaging::new(self, topic)
    }

    /// Returns a listener for the notifications of a topic. [`Listener::start`] starts it.
    #[must_use]
    pub fn listener(&self, topic: impl Into<String>) -> Listener {
        Listener::new(self, topic)
    }

    /// Returns a listener for the notifications of a topic, in batches of `size`, at least 1.
    /// [`BatchListener::start`] starts it.
    #[must_use]
    pub fn batch_listener(&self, topic: impl Into<String>, size: u16) -> BatchListener {
        BatchListener::new(self, topic, size)
    }
}

impl TransportOptions {
    /// Sets how the entities of RPC and notifications are declared; default as Python does.
    #[must_use]
    pub fn topology(mut self, topology: Topology) -> Self {
        self.topology = topology;
        self
    }

    /// Sets how many messages of a queue the broker sends to servers of RPC and listeners of
    /// notifications before they are acknowledged; 0 means no limit. Servers and listeners can
    /// override it. It does not apply to consumers and workers. Default: as many as are handled at
    /// once.
    #[must_use]
    pub fn oslo_prefetch(mut self, messages: u16) -> Self {
        self.traffic.prefetch = Some(messages);
        self
    }

    /// Sets how the messages of RPC and notifications are compressed. Clients, servers and drivers
    /// can override it. Receivers need no setting. Producers compress as
    /// [`PublishOptions`](crate::PublishOptions::compression) say. Default: they are not
    /// compressed.
    #[must_use]
    pub fn oslo_compression(mut self, compression: Compression) -> Self {
        self.traffic.compression = Some(compression);
        self
    }

    /// Sets how many bytes compressed messages of RPC and notifications may take together after
    /// decompression, while a server or listener handles them. Each server and listener has this
    /// much for itself, and the calls of the transport have it together for replies that they have
    /// not taken yet. The next message waits until there is room, and one that exceeds this alone
    /// is refused as undecodable. A value of JSON counts with the size it may have in memory. A
    /// reply waits no longer than the calls.
    /// Default [`DECOMPRESSED_TOTAL`](crate::DECOMPRESSED_TOTAL), 256 MiB; a single message is
    /// limited to [`DECOMPRESSED_LIMIT`](crate::DECOMPRESSED_LIMIT).
    #[must_use]
    pub fn oslo_decompressed_total(mut self, bytes: u64) -> Self {
        self.traffic.decompressed = bytes;
        self
    }
}
