//! The settings of a mailbox that is about to be opened.

use std::{fmt, time::Duration};

use crate::{
    mailbox::namespace::{
        mailbox::Mailbox,
        namespace::{Kind, Namespace, Settings},
    },
    serialize::Serializers,
    transport::Transport,
};

/// How long a reply queue outlives its last consumer, as in kombu.
const REPLY_QUEUE_EXPIRES: Duration = Duration::from_secs(10);

/// The default limit of the body of a command or a reply, in bytes.
const MAX_MESSAGE_SIZE: u64 = 16 * 1024 * 1024;

/// The settings of a mailbox. [`Transport::mailbox`](crate::Transport::mailbox) makes it.
///
/// All nodes and callers of a namespace have to agree on the [`kind`](Self::kind); the other
/// settings may differ.
#[derive(Clone)]
#[must_use = "a mailbox is opened by `open`"]
pub struct MailboxBuilder {
    transport: Transport,
    namespace: String,
    kind: Kind,
    settings: Settings,
}

impl MailboxBuilder {
    pub(crate) fn new(transport: &Transport, namespace: &str) -> Self {
        let serializers = Serializers::new();
        let settings = Settings {
            queue_ttl: None,
            queue_expires: None,
            queue_exclusive: true,
            reply_queue_ttl: None,
            reply_queue_expires: Some(REPLY_QUEUE_EXPIRES),
            serializer: "json".to_owned(),
            // JSON is always installed.
            serializers: serializers.clone().accept(["json"]).unwrap_or(serializers),
            max_message_size: MAX_MESSAGE_SIZE,
        };
        let (transport, namespace) = (transport.clone(), namespace.to_owned());
        MailboxBuilder { transport, namespace, kind: Kind::default(), settings }
    }

    /// Sets the type of the exchange for commands. Default [`Kind::Direct`].
    pub fn kind(mut self, kind: Kind) -> Self {
        self.kind = kind;
        self
    }

    /// Sets how long a command may wait for its node (`x-message-ttl` of the node's queue), in
    /// whole milliseconds. Default: without limit.
    pub fn queue_ttl(mut self, ttl: Duration) -> Self {
        self.settings.queue_ttl = Some(ttl);
        self
    }

    /// Sets how long a node's queue outlives its node (`x-expires`), in whole milliseconds.
    /// Default: it is not set; the queue is deleted with its consumer or its connection.
    pub fn queue_expires(mut self, unused: Duration) -> Self {
        self.settings.queue_expires = Some(unused);
        self
    }

    /// Sets whether the queues of nodes and the reply queue belong to their connections alone.
    /// Default true, as in kombu 5.7; kombu 5.6 and before have them shared, which interoperates.
    /// RabbitMQ 4.3 refuses shared queues of this kind.
    pub fn queue_exclusive(mut self, exclusive: bool) -> Self {
        self.settings.queue_exclusive = exclusive;
        self
    }

    /// Sets how long a reply may wait for its caller, in whole milliseconds. Default: without
    /// limit.
    pub fn reply_queue_ttl(mut self, ttl: Duration) -> Self {
        self.settings.reply_queue_ttl = Some(ttl);
        self
    }

    /// Sets how long a reply queue outlives its caller, in whole milliseconds. Default 10 s; `None`
    /// does not set it.
    pub fn reply_queue_expires(mut self, unused: Option<Duration>) -> Self {
        self.settings.reply_queue_expires = unused;
        self
    }

    /// Sets the serializer of commands and replies, by name: `json`, `msgpack`, or one of those of
    /// [`serializers`](Self::serializers). Default `json`, the only one that kombu's mailboxes
    /// accept by default.
    pub fn serializer(mut self, name: impl Into<String>) -> Self {
        self.settings.serializer = name.into();
        self
    }

    /// Sets the serializers, and the content types that are
    /// [accepted](Serializers::accept). Default: only JSON is accepted.
    pub fn serializers(mut self, serializers: Serializers) -> Self {
        self.settings.serializers = serializers;
        self
    }

    /// Sets the largest body of a command or a reply that is read, in bytes, compressed or not;
    /// default 16 MiB. A larger one is dropped on arrival and counts as undecodable. JSON that
    /// nests more than about 125 levels deep is undecodable as well.
    pub fn max_message_size(mut self, bytes: u64) -> Self {
        self.settings.max_message_size = bytes;
        self
    }

    /// Opens the mailbox. Nothing is declared before the first node, command or call.
    #[must_use]
    pub fn open(self) -> Mailbox {
        let mut settings = self.settings;
        let decompressed = settings.serializers.limit().min(settings.max_message_size);
        settings.serializers = settings.serializers.decompressed_limit(decompressed);
        Mailbox::new(Namespace::new(self.transport, self.namespace, self.kind, settings))
    }
}

impl fmt::Debug for MailboxBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("MailboxBuilder");
        shown.field("namespace", &self.namespace).field("kind", &self.kind).finish_non_exhaustive()
    }
}
