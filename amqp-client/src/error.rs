//! What can go wrong, and who caused it.

pub(crate) mod tls_error;
#[cfg(feature = "tls")]
pub(crate) mod tls_words;

use std::{fmt, io, sync::Arc, time::Duration};

use amqp_codec::{MethodId, ReplyCode, Report, ShortString};

use crate::error::tls_error::TlsError;

/// Shorthand for results of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a call, a publish, a channel or a connection failed.
///
/// Cheap to clone: everything that waited on a lost connection gets the same reason. Text never
/// holds a password, nor what the [`source`](std::error::Error::source) says: a [`Report`] says all
/// of it in one line.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The URI cannot be read.
    #[error("invalid AMQP URI: {0}")]
    InvalidUri(String),
    /// The caller's value cannot be sent: a name, a table or a message is over a limit of the
    /// protocol.
    #[error("it cannot be sent")]
    Invalid(#[source] amqp_codec::Error),
    /// The host name has no address.
    #[error("cannot resolve host {host}")]
    Resolve {
        /// The name asked for.
        host: String,
        /// What the resolver said.
        source: Arc<io::Error>,
    },
    /// No address of the host accepted a connection.
    #[error("cannot connect to {address}")]
    Connect {
        /// Host and port.
        address: String,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// TLS failed, in the certificates of this side or in the handshake, or is not in this build.
    #[error("no TLS with {address}")]
    Tls {
        /// Host and port.
        address: String,
        /// What went wrong.
        source: TlsError,
    },
    /// No host of several took the connection.
    #[error("no broker took the connection: {}", .0.iter().map(|(address, error)| format!("{address}: {}", Report(error))).collect::<Vec<_>>().join("; "))]
    NoHost(Arc<[(String, Error)]>),
    /// The connection was not open by the deadline, which covers name look-up, TCP, TLS and
    /// handshake.
    #[error("no AMQP connection to {address} within {after:?}")]
    ConnectTimeout {
        /// Host and port.
        address: String,
        /// The deadline.
        after: Duration,
    },
    /// The peer answered with the protocol header of another version.
    #[error("the broker does not speak AMQP 0-9-1; it offers {0:02x?}")]
    VersionRefused([u8; 8]),
    /// The peer's first bytes are not AMQP.
    #[error("the peer at the other end is not an AMQP broker")]
    NotAmqp(#[source] amqp_codec::Error),
    /// The broker offers no login mechanism that this client has.
    #[error("the broker offers the login mechanisms {offered:?}; this client has {wanted:?}")]
    NoMechanism {
        /// What it offers, separated by spaces.
        offered: String,
        /// What the options allow, separated by spaces.
        wanted: String,
    },
    /// There are no credentials to log in with: what the provider or the mechanism of this side
    /// said.
    #[error("there are no credentials to log in with")]
    Credentials(#[source] Arc<dyn std::error::Error + Send + Sync>),
    /// The login was refused.
    #[error("login refused for user {user:?}: {reason}")]
    LoginRefused {
        /// The user name.
        user: String,
        /// The broker's words, or how it ended the connection.
        reason: String,
    },
    /// The virtual host is unknown, or not open to this user.
    #[error("virtual host {vhost:?} refused: {close}")]
    VhostRefused {
        /// The virtual host.
        vhost: String,
        /// The broker's close.
        close: Close,
    },
    /// The broker closed the channel.
    #[error("channel {channel} closed by the broker: {close}")]
    ChannelClosed {
        /// The channel's number.
        channel: u16,
        /// The broker's close.
        close: Close,
    },
    /// A queue that was to be declared or consumed from is another connection's (405), or has a
    /// consumer that has it exclusively (403). The broker closed the channel.
    #[error("queue {queue:?} is taken: {close}")]
    QueueTaken {
        /// The queue.
        queue: String,
        /// The broker's close.
        close: Close,
    },
    /// The broker closed the connection.
    #[error("connection closed by the broker: {0}")]
    ConnectionClosed(Close),
    /// The channel was closed by this side, by `close()` or by dropping its last handle.
    #[error("channel {channel} was closed by this client")]
    ChannelEnded {
        /// The channel's number.
        channel: u16,
    },
    /// The connection was closed by this side, by `close()` or by dropping its last handle.
    #[error("the connection was closed by this client")]
    ConnectionEnded,
    /// The transport failed.
    #[error("connection lost")]
    ConnectionLost(#[source] Arc<io::Error>),
    /// Nothing was heard from the broker for two heartbeat intervals.
    #[error("connection lost: nothing heard from the broker for {silent:?}")]
    HeartbeatMissed {
        /// Twice the interval agreed on.
        silent: Duration,
    },
    /// The broker broke the protocol; the connection was closed with the error's reply code.
    #[error("the broker broke the protocol on channel {channel}")]
    Protocol {
        /// Where; 0 is the connection itself.
        channel: u16,
        /// How.
        source: amqp_codec::Error,
    },
    /// The broker sent a message over
    /// [`max_message_size`](crate::ConnectOptions::max_message_size); the channel was closed with
    /// 311, and the message, unless it was sent as acknowledged, is in its queue still.
    #[error("the broker sent a message of {size} bytes on channel {channel}; the limit is {limit}")]
    MessageTooLarge {
        /// The channel's number.
        channel: u16,
        /// As its header announced it, in bytes.
        size: u64,
        /// The limit, in bytes.
        limit: u64,
    },
    /// The message to publish is over
    /// [`max_message_size`](crate::ConnectOptions::max_message_size). Nothing of it was sent, and
    /// the channel is intact.
    #[error("a message of {size} bytes cannot be published; the limit is {limit}")]
    PublishTooLarge {
        /// Of its body, in bytes.
        size: u64,
        /// The limit, in bytes.
        limit: u64,
    },
    /// The broker answered with a method that was not due; the connection was closed with 503.
    #[error("the broker sent {got} on channel {channel} where {expected} was due")]
    UnexpectedMethod {
        /// Where.
        channel: u16,
        /// What was due.
        expected: &'static str,
        /// What came.
        got: &'static str,
    },
    /// No answer within the call's deadline. The channel stays usable: a late answer is recognised
    /// and dropped.
    #[error("no answer to {method} within {after:?}")]
    CallTimeout {
        /// The method called.
        method: &'static str,
        /// The deadline.
        after: Duration,
    },
    /// There was no room to publish within the publisher's deadline, though the broker does not
    /// block. The message was not sent.
    #[error("no room to publish within {after:?}")]
    PublishTimeout {
        /// The deadline.
        after: Duration,
    },
    /// The broker takes no publishes, and the publisher does not wait for that to end, or not any
    /// longer. The message was not sent.
    #[error("blocked by the broker: {reason}")]
    Blocked {
        /// The broker's words, such as "low on memory".
        reason: String,
    },
    /// Not everything was done by the deadline of a drain. A channel or connection has been closed
    /// all the same: deliveries that were not acked are delivered again, and publishes that were
    /// not confirmed may or may not be with the broker. A consumer has been cancelled, and what it
    /// handed out can still be settled.
    #[error(
        "not drained within {after:?}: {unacked} deliveries unacked, {unconfirmed} publishes unconfirmed"
    )]
    DrainTimeout {
        /// The deadline.
        after: Duration,
        /// Deliveries that were not settled.
        unacked: usize,
        /// Publishes that were not answered.
        unconfirmed: usize,
    },
    /// The connection was lost and is being recovered. Calls wait for that until their deadline;
    /// this is what the call that was under way is told when there is no better reason.
    #[error("the connection is being recovered")]
    Recovering,
    /// The connection was lost before the broker confirmed the publish: it may or may not have the
    /// message.
    #[error("lost before it was confirmed")]
    PublishLost(#[source] Box<Error>),
    /// The delivery came over a connection that was lost, or before the channel was opened again:
    /// the broker has taken it back and delivers it anew. Nothing was sent.
    #[error("the delivery on channel {channel} is of a connection that was lost; it comes again")]
    StaleDelivery {
        /// The channel's number.
        channel: u16,
    },
    /// A part of the transaction was done before the connection was lost, which undid it; the rest
    /// has been rolled back.
    #[error("the transaction on channel {channel} was lost with the connection, and is rolled back")]
    TransactionLost {
        /// The channel's number.
        channel: u16,
    },
    /// The connection was lost and could not be recovered within the limits set.
    #[error("not recovered after {attempts} attempts in {elapsed:?}")]
    NotRecovered {
        /// How often it was tried.
        attempts: u32,
        /// How long it was tried.
        elapsed: Duration,
        /// What the last attempt failed with.
        #[source]
        last: Box<Error>,
    },
    /// All channel numbers are in use.
    #[error("all {limit} channels of the connection are open")]
    NoFreeChannel {
        /// channel_max as agreed on.
        limit: u16,
    },
    /// The broker sent the consumer far more than its [prefetch](crate::ConsumeOptions::prefetch)
    /// allows: over twice as many and 64 were unsettled. The consumer was cancelled, and what it
    /// was given can be settled; the channel goes on.
    #[error(
        "consumer {tag:?} on channel {channel} has {unsettled} unsettled deliveries with a prefetch of {prefetch}"
    )]
    PrefetchExceeded {
        /// The channel's number.
        channel: u16,
        /// The consumer's tag.
        tag: String,
        /// The most that the broker was to send ahead.
        prefetch: u16,
        /// What it sent.
        unsettled: u32,
    },
    /// The broker cancelled the consumer, as it does when the queue is deleted.
    #[error("consumer {tag:?} was cancelled by the broker")]
    ConsumerCancelled {
        /// The consumer's tag.
        tag: String,
    },
}

/// A `channel.close` or `connection.close` that the broker sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Close {
    /// The reason as a number.
    pub code: ReplyCode,
    /// The reason in words.
    pub text: String,
    /// The method that caused it; `None` when none did.
    pub method: Option<MethodId>,
}

impl Close {
    pub(crate) fn new(code: u16, text: &impl ToString, class_id: u16, method_id: u16) -> Self {
        let method = (class_id != 0).then_some(MethodId { class_id, method_id });
        Close { code: ReplyCode(code), text: text.to_string(), method }
    }
}

impl Close {
    /// How RabbitMQ and LavinMQ end their text about a queue with an exclusive consumer.
    const IN_USE: &str = "in exclusive use";

    fn is_of_taken_queue(&self) -> bool {
        match self.code {
            ReplyCode::RESOURCE_LOCKED => true,
            // A text that is cut because of a long name still begins differently from that for
            // missing permissions.
            ReplyCode::ACCESS_REFUSED => {
                let is_cut_off = self.text.len() >= ShortString::MAX;
                self.text.ends_with(Self::IN_USE)
                    || (is_cut_off && self.text.starts_with("ACCESS_REFUSED - queue '"))
            }
            _ => false,
        }
    }

    /// Tells whether the close may be about this queue. Several calls of a channel may wait, and
    /// each is told of its end.
    fn may_be_about(&self, queue: &str) -> bool {
        let quoted = self.text.split_once('\'').map(|(_, rest)| rest);
        quoted.is_none_or(|rest| {
            rest.strip_prefix(queue).map_or_else(|| queue.starts_with(rest), |rest| rest.starts_with('\''))
        })
    }
}

impl fmt::Display for Close {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Brokers begin the text with the code's name, which is shown once.
        match self.code.name() {
            Some(name) if !self.text.starts_with(name) => write!(f, "{} {name} {}", self.code.0, self.text)?,
            _ => write!(f, "{} {}", self.code.0, self.text)?,
        }
        match self.method.map(|method| (method, method.name())) {
            Some((_, Some(name))) => write!(f, " (caused by {name})"),
            Some((id, None)) => write!(f, " (caused by method {}.{})", id.class_id, id.method_id),
            None => Ok(()),
        }
    }
}

impl Error {
    /// The broker's close, when a close is what this error tells of.
    pub fn close(&self) -> Option<&Close> {
        match self {
            Error::ChannelClosed { close, .. }
            | Error::QueueTaken { close, .. }
            | Error::VhostRefused { close, .. }
            | Error::ConnectionClosed(close) => Some(close),
            _ => None,
        }
    }

    /// The broker's reply code, when a close is what this error tells of.
    pub fn reply_code(&self) -> Option<ReplyCode> {
        self.close().map(|close| close.code)
    }

    /// Tells whether the broker refused something because a queue is exclusively another
    /// connection's (405), or a consumer's (403, which stands for missing permissions as well). It
    /// may let go.
    pub fn is_taken(&self) -> bool {
        self.close().is_some_and(Close::is_of_taken_queue)
    }

    /// The error with the queue's name, if it is a refusal of an operation on this queue.
    pub(crate) fn about_queue(self, queue: &str) -> Self {
        match self {
            Error::ChannelClosed { close, .. } if close.is_of_taken_queue() && close.may_be_about(queue) => {
                Error::QueueTaken { queue: queue.to_owned(), close }
            }
            other => other,
        }
    }

    /// Whether the whole connection has ended with this error, or never came to be.
    pub fn is_connection_error(&self) -> bool {
        !matches!(
            self,
            Error::Invalid(_)
                | Error::ChannelClosed { .. }
                | Error::QueueTaken { .. }
                | Error::ChannelEnded { .. }
                | Error::MessageTooLarge { .. }
                | Error::PublishTooLarge { .. }
                | Error::CallTimeout { .. }
                | Error::PublishTimeout { .. }
                | Error::Blocked { .. }
                | Error::DrainTimeout { .. }
                | Error::NoFreeChannel { .. }
                | Error::Recovering
                | Error::PublishLost(_)
                | Error::StaleDelivery { .. }
                | Error::TransactionLost { .. }
                | Error::PrefetchExceeded { .. }
                | Error::ConsumerCancelled { .. }
        )
    }

    /// Tells whether the error concerns one channel or what was to be sent on it, so that the
    /// connection stays open.
    pub(crate) fn is_channel_error(&self) -> bool {
        matches!(
            self,
            Error::ChannelClosed { .. }
                | Error::ChannelEnded { .. }
                | Error::NoFreeChannel { .. }
                | Error::Invalid(_)
        )
    }

    /// Tells whether the broker closed the channel for this method, or does not name the method.
    pub(crate) fn may_be_of(&self, method: MethodId) -> bool {
        self.close().is_none_or(|close| close.method.is_none_or(|named| named == method))
    }

    /// The transport ended without a close.
    pub(crate) fn end_of_stream() -> Self {
        let closed = io::Error::new(io::ErrorKind::UnexpectedEof, "the broker closed the socket");
        Error::ConnectionLost(Arc::new(closed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One error of each kind that has a source; a new kind has to be added here or to the others.
    fn with_sources() -> Vec<Error> {
        let io = || Arc::new(io::Error::other("the cause"));
        let address = || "a.example:5672".to_owned();
        let tls = TlsError::Unreadable { path: "/ca.pem".into(), source: io() };
        let all = vec![
            Error::Invalid(amqp_codec::Error::ChannelNotOpen),
            Error::Resolve { host: address(), source: io() },
            Error::Connect { address: address(), source: io() },
            Error::Tls { address: address(), source: tls },
            Error::NotAmqp(amqp_codec::Error::ChannelNotOpen),
            Error::Credentials(io()),
            Error::ConnectionLost(io()),
            Error::Protocol { channel: 1, source: amqp_codec::Error::ChannelNotOpen },
            Error::PublishLost(Box::new(Error::ConnectionLost(io()))),
            Error::NotRecovered {
                attempts: 1,
                elapsed: Duration::from_secs(1),
                last: Box::new(Error::ConnectionLost(io())),
            },
        ];
        for error in &all {
            match error {
                Error::InvalidUri(_)
                | Error::NoHost(_)
                | Error::ConnectTimeout { .. }
                | Error::VersionRefused(_)
                | Error::NoMechanism { .. }
                | Error::LoginRefused { .. }
                | Error::VhostRefused { .. }
                | Error::ChannelClosed { .. }
                | Error::ConnectionClosed(_)
                | Error::ChannelEnded { .. }
                | Error::ConnectionEnded
                | Error::HeartbeatMissed { .. }
                | Error::MessageTooLarge { .. }
                | Error::PublishTooLarge { .. }
                | Error::UnexpectedMethod { .. }
                | Error::CallTimeout { .. }
                | Error::PublishTimeout { .. }
                | Error::Blocked { .. }
                | Error::DrainTimeout { .. }
                | Error::Recovering
                | Error::StaleDelivery { .. }
                | Error::TransactionLost { .. }
                | Error::NoFreeChannel { .. }
                | Error::QueueTaken { .. }
                | Error::PrefetchExceeded { .. }
                | Error::ConsumerCancelled { .. } => panic!("{error} has no source"),
                Error::Invalid(_)
                | Error::Resolve { .. }
                | Error::Connect { .. }
                | Error::Tls { .. }
                | Error::NotAmqp(_)
                | Error::Credentials(_)
                | Error::ConnectionLost(_)
                | Error::Protocol { .. }
                | Error::PublishLost(_)
                | Error::NotRecovered { .. } => {}
            }
        }
        all
    }

    #[test]
    fn no_error_repeats_its_source_and_a_report_says_all_of_it_once() {
        for error in with_sources() {
            let said = Report(&error).to_string();
            let mut error: &dyn std::error::Error = &error;
            assert!(said.starts_with(&error.to_string()), "{said}");
            while let Some(source) = error.source() {
                let words = source.to_string();
                assert!(!error.to_string().contains(&words), "{error}: {words}");
                assert_eq!(said.matches(&words).count(), 1, "{said}");
                error = source;
            }
            let root = error.to_string();
            assert!(["the cause", "the channel is not open"].contains(&root.as_str()), "{said}: {root}");
        }
    }

    #[test]
    fn what_each_host_said_is_said_with_its_causes() {
        let lost = Error::ConnectionLost(Arc::new(io::Error::other("the cause")));
        let error = Error::NoHost([("a.example:1".to_owned(), lost)].into());
        assert_eq!(
            error.to_string(),
            "no broker took the connection: a.example:1: connection lost: the cause"
        );
    }

    #[test]
    fn a_close_names_code_text_and_method_once() {
        let close = Close::new(404, &"NOT_FOUND - no queue 'nope' in vhost '/'", 50, 10);
        assert_eq!(
            close.to_string(),
            "404 NOT_FOUND - no queue 'nope' in vhost '/' (caused by queue.declare)"
        );
        assert_eq!(Close::new(320, &"going down", 0, 0).to_string(), "320 CONNECTION_FORCED going down");
    }

    #[test]
    fn a_queue_that_is_taken_is_told_from_permissions_that_are_missing() {
        let close =
            |code, text: &str| Error::ChannelClosed { channel: 1, close: Close::new(code, &text, 60, 20) };
        let long = format!("ACCESS_REFUSED - queue '{}", "q".repeat(232));
        for (code, text) in [
            (
                405,
                "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue 'q' in vhost '/'. It could be",
            ),
            (405, "RESOURCE_LOCKED - Exclusive queue"),
            (403, "ACCESS_REFUSED - queue 'q' in vhost '/' in exclusive use"),
            (403, "ACCESS_REFUSED - Queue 'q' in vhost '/' in exclusive use"),
            (403, &long),
        ] {
            let error = close(code, text);
            assert!(error.is_taken(), "{text}");
            let queue = if text == long { "q".repeat(255) } else { "q".to_owned() };
            let typed = error.about_queue(&queue);
            assert!(matches!(&typed, Error::QueueTaken { queue: of, .. } if *of == queue), "{typed}");
            assert!(typed.is_taken() && !typed.is_connection_error());
        }
        for (code, text) in [
            (403, "ACCESS_REFUSED - access to queue 'q' in vhost '/' refused for user 'u'"),
            (403, "ACCESS_REFUSED - access to queue 'in exclusive use' in vhost '/' refused for user 'u'"),
            (403, "ACCESS_REFUSED - User doesn't have permissions to queue 'q'"),
            (404, "NOT_FOUND - no queue 'q' in vhost '/'"),
        ] {
            assert!(!close(code, text).is_taken(), "{text}");
        }
        let other =
            close(405, "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue 'q2' in vhost '/'");
        assert!(matches!(other.about_queue("q"), Error::ChannelClosed { .. }));
    }
}
