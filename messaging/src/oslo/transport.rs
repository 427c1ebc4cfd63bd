//! What a transport makes for RPC and notifications.

use crate::{
    compress::Compression,
    oslo::{
        notify::{BatchListener, Listener, Notifier, drivers::Messaging},
        rpc::{Client, Server},
        wire::{target::Target, topology::Topology},
    },
    transport::{Transport, TransportOptions},
};

impl Transport {
    /// A client that calls the methods of a target.
    #[must_use]
    pub fn rpc_client(&self, target: Target) -> Client {
        Client::new(self, target)
    }

    /// A server of the target's topic, under the target's server name; without one it is named by a
    /// unique id. [`Server::start`] begins.
    #[must_use]
    pub fn rpc_server(&self, target: Target) -> Server {
        Server::new(self, target)
    }

    /// A notifier for a publisher, by custom `service.host`, to one topic of the broker, by custom
    /// `notifications`: with the driver [`Messaging`], enveloped. See [`Notifier::with`] for other
    /// drivers.
    #[must_use]
    pub fn notifier(&self, publisher_id: &str, topic: impl Into<String>) -> Notifier {
        Notifier::with(publisher_id, self.notification_driver(topic))
    }

    /// A driver that emits notifications to one topic of the broker, for notifiers that have
    /// several drivers and for buffers.
    #[must_use]
    pub fn notification_driver(&self, topic: impl Into<String>) -> Messaging {
        Messaging::new(self, topic)
    }

    /// A listener for the notifications of a topic. [`Listener::start`] begins.
    #[must_use]
    pub fn listener(&self, topic: impl Into<String>) -> Listener {
        Listener::new(self, topic)
    }

    /// A listener for the notifications of a topic, in batches of `size`, at least 1.
    /// [`BatchListener::start`] begins.
    #[must_use]
    pub fn batch_listener(&self, topic: impl Into<String>, size: u16) -> BatchListener {
        BatchListener::new(self, topic, size)
    }
}

impl TransportOptions {
    /// How the entities of RPC and notifications are declared; default as Python does.
    #[must_use]
    pub fn topology(mut self, topology: Topology) -> Self {
        self.topology = topology;
        self
    }

    /// How many messages of a queue the broker sends to servers of RPC and listeners of
    /// notifications ahead of their acknowledgement, unless they say otherwise themselves; 0 is
    /// without limit, where they have none of their own. Consumers and workers have prefetches of
    /// their own. Default: as many as they work on at once.
    #[must_use]
    pub fn oslo_prefetch(mut self, messages: u16) -> Self {
        self.traffic.prefetch = Some(messages);
        self
    }

    /// How the messages of RPC and notifications are compressed, unless clients, servers and
    /// drivers say otherwise themselves. Who reads them need not know. Producers compress as
    /// [`PublishOptions`](crate::PublishOptions::compression) say. Default: they are not
    /// compressed.
    #[must_use]
    pub fn oslo_compression(mut self, compression: Compression) -> Self {
        self.traffic.compression = Some(compression);
        self
    }

    /// How many bytes compressed messages of RPC and notifications may have together when they are
    /// decompressed, for as long as a server or listener works on them; each of those has as much
    /// for itself. The next message waits until there is room, and one that would have more alone
    /// is refused as unreadable. A value of JSON counts as what it may become. Default
    /// [`DECOMPRESSED_TOTAL`](crate::DECOMPRESSED_TOTAL), 256 MiB; no message has over
    /// [`DECOMPRESSED_LIMIT`](crate::DECOMPRESSED_LIMIT).
    #[must_use]
    pub fn oslo_decompressed_total(mut self, bytes: u64) -> Self {
        self.traffic.decompressed = bytes;
        self
    }
}
