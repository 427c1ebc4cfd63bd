//! What a transport makes for RPC and notifications.

use crate::{
    oslo::{
        notify::{BatchListener, Listener, Notifier, drivers::Messaging},
        rpc::{Client, Server},
        wire::target::Target,
    },
    transport::Transport,
};

impl Transport {
    /// A client that calls the methods of a target.
    #[must_use]
    pub fn rpc_client(&self, target: Target) -> Client {
        Client::new(self, target)
    }

    /// A server of the target's topic, under the target's server name; without one it is named by a unique id. [`Server::start`] begins.
    #[must_use]
    pub fn rpc_server(&self, target: Target) -> Server {
        Server::new(self, target)
    }

    /// A notifier for a publisher, by custom `service.host`, to one topic of the broker, by custom `notifications`: with the driver
    /// [`Messaging`], enveloped. See [`Notifier::with`] for other drivers.
    #[must_use]
    pub fn notifier(&self, publisher_id: &str, topic: impl Into<String>) -> Notifier {
        Notifier::with(publisher_id, self.notification_driver(topic))
    }

    /// A driver that emits notifications to one topic of the broker, for notifiers that have several drivers and for buffers.
    #[must_use]
    pub fn notification_driver(&self, topic: impl Into<String>) -> Messaging {
        Messaging::new(self, topic)
    }

    /// A listener for the notifications of a topic. [`Listener::start`] begins.
    #[must_use]
    pub fn listener(&self, topic: impl Into<String>) -> Listener {
        Listener::new(self, topic)
    }

    /// A listener for the notifications of a topic, in batches of `size`, at least 1. [`BatchListener::start`] begins.
    #[must_use]
    pub fn batch_listener(&self, topic: impl Into<String>, size: u16) -> BatchListener {
        BatchListener::new(self, topic, size)
    }
}
