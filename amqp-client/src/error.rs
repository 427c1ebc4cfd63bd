//! The errors of this crate: what can go wrong, and who caused it.

pub(crate) mod tls_error;
#[cfg(feature = "tls")]
pub(crate) mod tls_words;

use std::{fmt, io, sync::Arc, time::Duration};

use amqp_codec::{MethodId, ReplyCode, Report, ShortString};

use crate::error::tls_error::TlsError;

/// Shorthand for results of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The reason why a call, a publish, a channel or a connection failed.
///
/// Errors are cheap to clone: everything that waited on a lost connection gets the same reason. The
/// text never contains a password, nor the text of the [`source`](std::error::Error::source); a
/// [`Report`] joins all of it in one line.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The URI cannot be read.
    #[error("the AMQP URI is invalid: {0}")]
    InvalidUri(String),
    /// The caller's value cannot be sent: a name, a table or a message is over a limit of the
    /// protocol.
    #[error("a value is over a limit of the protocol and cannot be sent")]
    Invalid(#[source] amqp_codec::Error),
    /// A queue was to be declared without a name and without waiting for the broker's answer, from
    /// which alone one learns the name that the broker generates. Nothing was sent.
    #[error("a queue that is declared without waiting for the answer needs a name")]
    UnnamedQueue,
    /// The host name has no address.
    #[error("cannot resolve the host name {host}")]
    Resolve {
        /// The host name.
        host: String,
        /// The error of the resolver.
        source: Arc<io::Error>,
    },
    /// No address of the host accepted a connection.
    #[error("cannot connect to {address}")]
    Connect {
        /// Host and port.
        address: String,
        /// The error of the operating system.
        source: Arc<io::Error>,
    },
    /// TLS failed, in the certificates of this side or in the handshake, or this build has no TLS.
    #[error("cannot establish TLS with {address}")]
    Tls {
        /// Host and port.
        address: String,
        /// The error of TLS.
        source: TlsError,
    },
    /// None of several hosts accepted the connection.
    #[error("no broker accepts the connection: {}", .0.iter().map(|(address, error)| format!("{address}: {}", Report(error))).collect::<Vec<_>>().join("; "))]
    NoHost(Arc<[(String, Error)]>),
    /// The connection was not open by the deadline, which covers name look-up, TCP, TLS and
    /// handshake.
    #[error("the AMQP connection to {address} is not open after {after:?}, the time limit")]
    ConnectTimeout {
        /// Host and port.
        address: String,
        /// The deadline.
        after: Duration,
    },
    /// The peer answered with the protocol header of another version.
    #[error("the broker does not speak AMQP 0-9-1; it offers the protocol header {0:02x?}")]
    VersionRefused([u8; 8]),
    /// The peer's first bytes are not AMQP.
    #[error("the peer is not an AMQP broker")]
    NotAmqp(#[source] amqp_codec::Error),
    /// The broker offers no login mechanism that this client has.
    #[error("the broker offers none of this client's login mechanisms {wanted:?}; it offers {offered:?}")]
    NoMechanism {
        /// The mechanisms offered, separated by spaces.
        offered: String,
        /// The mechanisms that the options allow, separated by spaces.
        wanted: String,
    },
    /// There are no credentials to log in with; the source is the error of the provider or the
    /// mechanism on this side.
    #[error("there are no usable credentials for the login")]
    Credentials(#[source] Arc<dyn std::error::Error + Send + Sync>),
    /// The login was refused.
    #[error("the broker refuses the login of user {user:?}: {reason}")]
    LoginRefused {
        /// The user name.
        user: String,
        /// The broker's words, or how it ended the connection.
        reason: String,
    },
    /// The virtual host is unknown, or not open to this user.
    #[error("the broker refuses access to virtual host {vhost:?}: {close}")]
    VhostRefused {
        /// The virtual host.
        vhost: String,
        /// The broker's close.
        close: Close,
    },
    /// The broker closed the channel.
    #[error("the broker closed channel {channel}: {close}")]
    ChannelClosed {
        /// The channel's number.
        channel: u16,
        /// The broker's close.
        close: Close,
    },
    /// Another connection has exclusive use of a queue that was to be declared or consumed from
    /// (405), or another consumer has (403). The broker closed the channel.
    #[error("queue {queue:?} is in exclusive use by another connection or consumer: {close}")]
    QueueTaken {
        /// The queue.
        queue: String,
        /// The broker's close.
        close: Close,
    },
    /// The broker closed the connection.
    #[error("the broker closed the connection: {0}")]
    ConnectionClosed(Close),
    /// The channel was closed by this side, by `close()` or by dropping its last handle.
    #[error("this client closed channel {channel}")]
    ChannelEnded {
        /// The channel's number.
        channel: u16,
    },
    /// The connection was closed by this side, by `close()` or by dropping its last handle.
    #[error("this client closed the connection")]
    ConnectionEnded,
    /// The transport failed.
    #[error("the connection is lost")]
    ConnectionLost(#[source] Arc<io::Error>),
    /// Nothing was heard from the broker for two heartbeat intervals.
    #[error("the connection is lost: the broker was silent for {silent:?}, two heartbeat intervals")]
    HeartbeatMissed {
        /// Twice the interval agreed on.
        silent: Duration,
    },
    /// The broker broke the protocol; the connection was closed with the error's reply code.
    #[error("the connection is closed because the broker violated the protocol on channel {channel}")]
    Protocol {
        /// The channel's number; 0 is the connection itself.
        channel: u16,
        /// The breach of the protocol.
        source: amqp_codec::Error,
    },
    /// The broker sent a message over
    /// [`max_message_size`](crate::ConnectOptions::max_message_size). The channel was closed with
    /// 311. The message is still in its queue, unless it was consumed without acknowledgement.
    #[error(
        "channel {channel} is closed because the broker sent a message of {size} bytes; the limit is {limit} bytes"
    )]
    MessageTooLarge {
        /// The channel's number.
        channel: u16,
        /// The size that the content header announced, in bytes.
        size: u64,
        /// The limit, in bytes.
        limit: u64,
    },
    /// The message to publish is over
    /// [`max_message_size`](crate::ConnectOptions::max_message_size). Nothing of it was sent, and
    /// the channel is intact.
    #[error("a message of {size} bytes cannot be published; the limit is {limit} bytes")]
    PublishTooLarge {
        /// The size of the body, in bytes.
        size: u64,
        /// The limit, in bytes.
        limit: u64,
    },
    /// The broker answered with a method that was not expected; the connection was closed with 503.
    #[error(
        "the connection is closed because the broker sent {got} on channel {channel}; expected {expected}"
    )]
    UnexpectedMethod {
        /// The channel's number.
        channel: u16,
        /// What was expected.
        expected: &'static str,
        /// What arrived.
        got: &'static str,
    },
    /// The broker did not answer within the call's deadline. The channel stays usable: a late
    /// answer is recognised and dropped.
    #[error("the broker did not answer {method} within {after:?}")]
    CallTimeout {
        /// The method called.
        method: &'static str,
        /// The deadline.
        after: Duration,
    },
    /// There was no room to publish within the publisher's deadline, although the broker does not
    /// block. The message was not sent.
    #[error("the message is not sent: the publisher had no room for it within {after:?}")]
    PublishTimeout {
        /// The deadline.
        after: Duration,
    },
    /// The broker accepts no publishes, and the publisher does not wait, or no longer waits, for
    /// that to end. The message was not sent.
    #[error("the broker accepts no publishes: {reason}")]
    Blocked {
        /// The broker's words, such as "low on memory".
        reason: String,
    },
    /// The drain was not complete by its deadline. A channel or connection has been closed
    /// nevertheless: deliveries that were not acked are delivered again, and publishes that were
    /// not confirmed may or may not have reached the broker. A consumer has been cancelled, and the
    /// deliveries that it handed out can still be settled.
    #[error(
        "the drain did not complete within {after:?}: unacked deliveries: {unacked}, unconfirmed publishes: {unconfirmed}"
    )]
    DrainTimeout {
        /// The deadline.
        after: Duration,
        /// How many deliveries were not settled.
        unacked: usize,
        /// How many publishes were not answered.
        unconfirmed: usize,
    },
    /// The connection was lost and is being recovered. Calls wait for that until their deadline; a
    /// call that was under way gets this error when there is no better reason.
    #[error("the connection is being recovered")]
    Recovering,
    /// The connection was lost before the broker confirmed the publish: the broker may or may not
    /// have the message.
    #[error("the publish is unconfirmed, and the broker may or may not have the message")]
    PublishLost(#[source] Box<Error>),
    /// The delivery came over a connection that was lost, or before the channel was reopened: the
    /// broker has requeued the message and delivers it again. Nothing was sent.
    #[error(
        "the delivery arrived before channel {channel} was reopened and cannot be settled; the broker delivers it again"
    )]
    StaleDelivery {
        /// The channel's number.
        channel: u16,
    },
    /// The connection was lost in the middle of the transaction, which undid a part of it; the rest
    /// has been rolled back.
    #[error("the transaction on channel {channel} is rolled back because the connection was lost")]
    TransactionLost {
        /// The channel's number.
        channel: u16,
    },
    /// The connection was lost and could not be recovered within the limits set.
    #[error("the connection is not recovered (attempts: {attempts}, elapsed: {elapsed:?})")]
    NotRecovered {
        /// How many attempts there were.
        attempts: u32,
        /// How long the attempts lasted.
        elapsed: Duration,
        /// The error of the last attempt.
        #[source]
        last: Box<Error>,
    },
    /// All channel numbers are in use.
    #[error("all {limit} channels that the connection may have are open")]
    NoFreeChannel {
        /// The agreed limit (`channel_max`).
        limit: u16,
    },
    /// The broker sent the consumer far more than its [prefetch](crate::ConsumeOptions::prefetch)
    /// allows: more than twice as many and 64 deliveries were unsettled. The consumer was
    /// cancelled, and its deliveries can still be settled; the channel goes on.
    #[error(
        "consumer {tag:?} on channel {channel} is cancelled because the broker exceeded its prefetch of {prefetch}: \
         {unsettled} deliveries are unsettled"
    )]
    PrefetchExceeded {
        /// The channel's number.
        channel: u16,
        /// The consumer's tag.
        tag: String,
        /// The consumer's prefetch.
        prefetch: u16,
        /// How many deliveries were unsettled.
        unsettled: u32,
    },
    /// The broker cancelled the consumer, as it does when the queue is deleted.
    #[error("the broker cancelled consumer {tag:?}")]
    ConsumerCancelled {
        /// The consumer's tag.
        tag: String,
    },
}

/// A `channel.close` or `connection.close` that the broker sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Close {
    /// The reply code.
    pub code: ReplyCode,
    /// The reply text.
    pub text: String,
    /// The method that caused the close, if one did.
    pub method: Option<MethodId>,
}

impl Close {
    pub(crate) fn new(code: u16, text: &impl ToString, class_id: u16, method_id: u16) -> Self {
        let method = (class_id != 0).then_some(MethodId { class_id, method_id });
        Close { code: ReplyCode(code), text: text.to_string(), method }
    }
}

impl Close {
    /// The end of RabbitMQ's and LavinMQ's reply text about a queue with an exclusive consumer.
    const IN_USE: &str = "in exclusive use";

    fn is_of_taken_queue(&self) -> bool {
        match self.code {
            ReplyCode::RESOURCE_LOCKED => true,
            // Even if a long name cuts the text short, it begins differently from that for missing
            // permissions.
            ReplyCode::ACCESS_REFUSED => {
                let is_cut_off = self.text.len() >= ShortString::MAX;
                self.text.ends_with(Self::IN_USE)
                    || (is_cut_off && self.text.starts_with("ACCESS_REFUSED - queue '"))
            }
            _ => false,
        }
    }

    /// Tells whether the close may be about this queue. Several calls may wait on a channel, and
    /// each gets the reason of its end.
    fn may_be_about(&self, queue: &str) -> bool {
        let quoted = self.text.split_once('\'').map(|(_, rest)| rest);
        quoted.is_none_or(|rest| {
            rest.strip_prefix(queue).map_or_else(|| queue.starts_with(rest), |rest| rest.starts_with('\''))
        })
    }
}

impl fmt::Display for Close {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Brokers begin the text with the code's name, so it is not printed twice.
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
    /// Returns the broker's close, if this error is about one.
    pub fn close(&self) -> Option<&Close> {
        match self {
            Error::ChannelClosed { close, .. }
            | Error::QueueTaken { close, .. }
            | Error::VhostRefused { close, .. }
            | Error::ConnectionClosed(close) => Some(close),
            _ => None,
        }
    }

    /// Returns the reply code of the broker's close, if this error is about one.
    pub fn reply_code(&self) -> Option<ReplyCode> {
        self.close().map(|close| close.code)
    }

    /// Tells whether the broker refused an operation because another connection (405) or consumer
    /// (403) has exclusive use of a queue, which it may give up. 403 also stands for missing
    /// permissions, which do not count.
    pub fn is_taken(&self) -> bool {
        self.close().is_some_and(Close::is_of_taken_queue)
    }

    /// Adds the queue's name to the error, if the error is a refusal of an operation on this queue.
    pub(crate) fn about_queue(self, queue: &str) -> Self {
        match self {
            Error::ChannelClosed { close, .. } if close.is_of_taken_queue() && close.may_be_about(queue) => {
                Error::QueueTaken { queue: queue.to_owned(), close }
            }
            other => other,
        }
    }

    /// Tells whether the whole connection has ended with this error, or was never opened.
    pub fn is_connection_error(&self) -> bool {
        !matches!(
            self,
            Error::Invalid(_)
                | Error::UnnamedQueue
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

    /// Tells whether the error concerns only one channel or a method to be sent on it, so that the
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

    /// Tells whether the broker closed the channel because of this method, or named no method.
    pub(crate) fn may_be_of(&self, method: MethodId) -> bool {
        self.close().is_none_or(|close| close.method.is_none_or(|named| named == method))
    }

    /// Makes the error for a transport that ended without a close.
    pub(crate) fn end_of_stream() -> Self {
        let closed = io::Error::new(io::ErrorKind::UnexpectedEof, "the broker closed the socket");
        Error::ConnectionLost(Arc::new(closed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns one error of each kind that has a source. A new kind has to be added to one of the
    /// two lists here.
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
                | Error::UnnamedQueue
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
            "no broker accepts the connection: a.example:1: the connection is lost: the cause"
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
