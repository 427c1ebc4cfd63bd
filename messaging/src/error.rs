//! The errors of this crate, grouped by who has to act on them.

pub(crate) mod conflict;
#[cfg(feature = "mailbox")]
pub(crate) mod mailbox;
pub(crate) mod url;

use std::{fmt, time::Duration};

use amqp_client::{Delivery, TlsError};
use amqp_codec::{ReplyCode, Report};

#[cfg(feature = "mailbox")]
use crate::error::mailbox::MailboxError;
use crate::error::{conflict::Conflict, url::UrlError};
#[cfg(feature = "oslo")]
use crate::oslo::error::{notify::NotifyError, oslo::OsloError};

/// The error type of this crate. Its text does not repeat its
/// [`source`](std::error::Error::source): a [`Report`](crate::Report) shows both in one line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The transport URL cannot be read.
    #[error("the transport URL is invalid")]
    Url(#[from] UrlError),
    /// There is no connection to a broker; with several hosts, the source tells what each of them
    /// said.
    #[error("there is no connection{}", unnamed(source, host))]
    Connect {
        /// `host:port`, several with commas between them, or `memory://NAME`.
        host: String,
        /// The cause.
        source: amqp_client::Error,
    },
    /// The broker or the connection failed an operation.
    #[error("cannot {operation}")]
    Broker {
        /// The operation and the entity it was for.
        operation: String,
        /// The cause.
        source: amqp_client::Error,
    },
    /// An exchange or queue exists with other properties than it was to be declared with.
    #[error(transparent)]
    Conflict(Box<Conflict>),
    /// A queue belongs to another connection exclusively, or has an exclusive consumer.
    #[error("cannot use queue {queue:?}")]
    QueueTaken {
        /// The queue.
        queue: String,
        /// The broker's answer.
        source: amqp_client::Error,
    },
    /// The transport was closed by its user.
    #[error("the transport is closed")]
    Closed,
    /// A value has no JSON form.
    #[error("cannot encode {what} as JSON")]
    Encode {
        /// What the value was for.
        what: &'static str,
        /// The cause.
        source: serde_json::Error,
    },
    /// A message could not be serialized.
    #[error(transparent)]
    Serializer(#[from] SerializerError),
    /// A message could not be compressed.
    #[error(transparent)]
    Compression(#[from] CompressionError),
    /// JSON that arrived is not of the requested type.
    #[error("cannot decode {what} from JSON")]
    Decode {
        /// What the value was received as.
        what: &'static str,
        /// The cause.
        source: serde_json::Error,
    },
    /// A message that could not be delivered, and what is known about it.
    #[error(transparent)]
    Undelivered(Box<Undelivered>),
    /// A delivery whose body could not be decoded; it is still to be settled.
    #[error(transparent)]
    Undecodable(Box<Undecodable>),
    /// A consumer, server or listener that cannot continue: its queue was deleted, or its channel
    /// ended.
    #[error("consuming from queue {queue:?} ended")]
    ConsumerEnded {
        /// The queue.
        queue: String,
        /// The cause, if one is known.
        source: Option<amqp_client::Error>,
    },
    /// The deadline passed.
    #[error("the deadline passed after {after:?} while {during}")]
    Timeout {
        /// The time from the start to giving up.
        after: Duration,
        /// What was in progress.
        during: &'static str,
    },
    /// A failure of a mailbox that is not one of plain messages.
    #[cfg(feature = "mailbox")]
    #[error(transparent)]
    Mailbox(#[from] MailboxError),
    /// A failure of RPC or notifications that is not one of plain messages.
    #[cfg(feature = "oslo")]
    #[error(transparent)]
    Oslo(#[from] OsloError),
}

#[cfg(feature = "oslo")]
impl From<NotifyError> for Error {
    fn from(error: NotifyError) -> Self {
        Error::Oslo(error.into())
    }
}

impl Error {
    /// Whether retrying is useless, because the broker would refuse again: a wrong password, a
    /// missing virtual host, an entity that exists with other properties.
    pub(crate) fn is_permanent(&self) -> bool {
        match self {
            Error::Url(_)
            | Error::Closed
            | Error::Conflict(_)
            | Error::QueueTaken { .. }
            | Error::Encode { .. }
            | Error::Serializer(_)
            | Error::Compression(_) => true,
            #[cfg(feature = "mailbox")]
            Error::Mailbox(_) => true,
            #[cfg(feature = "oslo")]
            Error::Oslo(error) => error.is_permanent(),
            Error::Connect { source, .. } | Error::Broker { source, .. } => permanent(source),
            _ => false,
        }
    }

    /// Whether the connection was lost under an operation, which may succeed on another one.
    pub(crate) fn is_of_lost_connection(&self) -> bool {
        let Error::Broker { source, .. } = self else { return false };
        source.is_connection_error() && !self.is_permanent()
    }

    /// Whether the broker refused something because of its properties (406).
    pub(crate) fn is_precondition_failed(&self) -> bool {
        let Error::Broker { source, .. } = self else { return false };
        source.reply_code() == Some(ReplyCode::PRECONDITION_FAILED)
    }

    /// Whether a consumer that failed like this is not to be restarted: its transport is closed,
    /// its user may not consume, or the queue belongs to somebody else.
    pub(crate) fn ends_consuming(&self) -> bool {
        matches!(self, Error::Closed)
            || self.is_of_taken_queue()
            || self.said().is_some_and(|said| said.reply_code() == Some(ReplyCode::ACCESS_REFUSED))
    }

    /// Whether a queue belongs to another connection exclusively, or has an exclusive consumer.
    pub(crate) fn is_of_taken_queue(&self) -> bool {
        self.said().is_some_and(amqp_client::Error::is_taken)
    }

    /// Returns the client's error.
    fn said(&self) -> Option<&amqp_client::Error> {
        match self {
            Error::Broker { source, .. } | Error::QueueTaken { source, .. } => Some(source),
            Error::ConsumerEnded { source, .. } => source.as_ref(),
            _ => None,
        }
    }

    /// Returns a function for `map_err`: the client failed when consuming from a queue was to
    /// begin.
    pub(crate) fn consuming(queue: &str) -> impl FnOnce(amqp_client::Error) -> Error {
        move |source| match source {
            amqp_client::Error::QueueTaken { .. } => Error::QueueTaken { queue: queue.to_owned(), source },
            _ => Error::broker(format_args!("consume from queue {queue:?}"))(source),
        }
    }

    /// Returns a function for `map_err` that adds the operation to an error of the client.
    pub(crate) fn broker(operation: impl fmt::Display) -> impl FnOnce(amqp_client::Error) -> Error {
        move |source| Error::Broker { operation: operation.to_string(), source }
    }
}

/// Whether the broker will give the same answer again.
fn permanent(error: &amqp_client::Error) -> bool {
    use amqp_client::Error as Client;
    match error {
        Client::InvalidUri(_)
        | Client::Invalid(_)
        | Client::PublishTooLarge { .. }
        | Client::VersionRefused(_)
        | Client::NotAmqp(_)
        | Client::NoMechanism { .. }
        | Client::LoginRefused { .. } => true,
        // Own certificates do not change by themselves; the broker's may be renewed between
        // attempts.
        Client::Tls { source, .. } => {
            matches!(
                source,
                TlsError::NotCompiled { .. }
                    | TlsError::BadPem { .. }
                    | TlsError::EncryptedKey { .. }
                    | TlsError::BadIdentity(_)
                    | TlsError::BadServerName { .. }
            )
        }
        _ => matches!(
            error.reply_code(),
            Some(
                ReplyCode::INVALID_PATH
                    | ReplyCode::ACCESS_REFUSED
                    | ReplyCode::PRECONDITION_FAILED
                    | ReplyCode::NOT_ALLOWED
                    | ReplyCode::NOT_IMPLEMENTED
                    | ReplyCode::COMMAND_INVALID
            )
        ),
    }
}

/// Returns a content type in quotes, or that there is none.
fn named(content_type: Option<&str>) -> String {
    content_type.map_or_else(|| "missing".to_owned(), |content_type| format!("{content_type:?}"))
}

/// Returns a header's text in quotes, or that it is none.
fn text(header: Option<&str>) -> String {
    header.map_or_else(|| "not text".to_owned(), |text| format!("{text:?}"))
}

/// Returns ` to host`, unless the cause names the host.
fn unnamed(source: &amqp_client::Error, host: &str) -> String {
    use amqp_client::Error as Client;
    match source {
        Client::Resolve { .. }
        | Client::Connect { .. }
        | Client::ConnectTimeout { .. }
        | Client::NoHost(_)
        | Client::Tls { .. } => String::new(),
        _ => format!(" to {host}"),
    }
}

/// The state of knowledge about a message that was possibly not delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// The message was never sent: the broker does not have it.
    NotSent,
    /// The broker refused the message, with a nack or by closing the channel: it does not have it.
    Rejected,
    /// No queue takes the message: the broker does not have it.
    Unroutable,
    /// The message was sent and not answered: the broker may or may not have it.
    Unknown,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Outcome::NotSent => "was not sent",
            Outcome::Rejected => "was rejected by the broker",
            Outcome::Unroutable => "reached no queue",
            Outcome::Unknown => "may or may not have been delivered",
        })
    }
}

/// A message that could not be delivered by its deadline or limit.
#[derive(Debug, thiserror::Error)]
#[error(
    "the message to exchange {exchange:?} with routing key {routing_key:?} {outcome} (attempts: {attempts}, elapsed: {elapsed:?})"
)]
#[non_exhaustive]
pub struct Undelivered {
    /// The exchange it was published to; empty for the default exchange.
    pub exchange: String,
    /// The routing key it was published with.
    pub routing_key: String,
    /// What is known about it. If any attempt left this unknown, it stays unknown.
    pub outcome: Outcome,
    /// The number of attempts.
    pub attempts: u32,
    /// The time from the call to giving up.
    pub elapsed: Duration,
    /// What ended the last attempt, unless it was only a timeout or the broker's plain refusal.
    pub source: Option<Box<Error>>,
    /// Tells whether the last attempt reached no queue, whatever became of earlier ones.
    pub(crate) is_returned: bool,
}

/// A delivery whose body is not what the consumer expects.
///
/// # On drop
/// The message stays unacknowledged until its channel ends, and is then delivered again.
#[derive(Debug)]
#[non_exhaustive]
pub struct Undecodable {
    /// The message.
    pub delivery: Delivery,
    /// The reason why it cannot be decoded.
    pub reason: Malformed,
}

impl fmt::Display for Undecodable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a message with routing key {:?} cannot be decoded", self.delivery.routing_key())
    }
}

impl std::error::Error for Undecodable {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.reason)
    }
}

impl Undecodable {
    /// Acknowledges the message as if it had been handled.
    ///
    /// # Errors
    /// When the channel has ended.
    pub async fn ack(self) -> Result<(), Error> {
        self.delivery.ack().await.map_err(Error::broker("acknowledge an undecodable message"))
    }

    /// Rejects the message: it is dead-lettered if the queue has a dead-letter exchange, and
    /// dropped otherwise.
    ///
    /// # Errors
    /// When the channel has ended.
    pub async fn reject(self) -> Result<(), Error> {
        self.delivery.reject(false).await.map_err(Error::broker("reject an undecodable message"))
    }
}

/// The cause that a serializer gives.
type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Returns the text of a user's error with all its causes.
pub(crate) fn words(error: impl Into<BoxError>) -> String {
    Report(&*error.into()).to_string()
}

/// The reason why a value cannot be serialized, or a list of content types is invalid.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SerializerError {
    /// There is no serializer of this name or content type.
    #[error("there is no serializer {0:?}")]
    NotInstalled(String),
    /// The serializer exists in kombu, and is left out here on purpose.
    #[error("this library neither writes nor reads {name} ({content_type})")]
    Refused {
        /// kombu's name for it.
        name: &'static str,
        /// Its content type.
        content_type: &'static str,
    },
    /// The serializer exists, but is not compiled in.
    #[error("the serializer is not in this build: feature `{feature}` of `messaging` is off")]
    NotCompiled {
        /// The feature to turn on.
        feature: &'static str,
    },
    /// A serializer's content type or encoding is longer than the 255 bytes it may have.
    #[error("the content type or encoding of serializer {0:?} is longer than 255 bytes")]
    TooLong(String),
    /// The value cannot be represented in this format.
    #[error("cannot serialize a value as {serializer}")]
    Encode {
        /// The serializer's name.
        serializer: String,
        /// The cause.
        source: BoxError,
    },
}

/// The reason why a body cannot be compressed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompressionError {
    /// No compression has this name.
    #[error("there is no compression {0:?}")]
    Unknown(String),
    /// The compression exists, but is not compiled in.
    #[error("the compression is not in this build: feature `{feature}` of `messaging` is off")]
    NotCompiled {
        /// The feature to turn on.
        feature: &'static str,
    },
    /// The compressor failed.
    #[error("{compression} cannot compress a body")]
    Failed {
        /// The compression's name.
        compression: &'static str,
        /// The cause.
        source: std::io::Error,
    },
}

/// The reason why a body cannot be decoded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Malformed {
    /// The properties cannot be decoded.
    #[error("the properties cannot be decoded")]
    Properties(#[source] amqp_client::Error),
    /// The content type is not `application/json`.
    #[error("the content type is {}, not application/json", named(.0.as_deref()))]
    ContentType(Option<String>),
    /// The content type is never decoded: pickle can run any code that its sender likes, and YAML
    /// is not supported.
    #[error("the content type is {content_type} ({name}), which this library never decodes")]
    Refused {
        /// kombu's name for it.
        name: &'static str,
        /// Its content type.
        content_type: &'static str,
    },
    /// The consumer does not accept this content type.
    #[error("the content type {0:?} is not one that the consumer accepts")]
    NotAccepted(String),
    /// The content encoding, in lower case, is none of `utf-8`, `us-ascii`, `iso-8859-1` and
    /// `binary`.
    #[error("the content encoding {0:?} is not supported")]
    ContentEncoding(String),
    /// The text is not valid in its content encoding.
    #[error("the body is not valid {content_encoding}")]
    Text {
        /// The content encoding, in lower case.
        content_encoding: String,
        /// The cause.
        source: BoxError,
    },
    /// The body is not what its content type says, or not of the requested type.
    #[error("the body cannot be decoded as {content_type}")]
    Decode {
        /// The content type.
        content_type: String,
        /// The cause.
        source: BoxError,
    },
    /// The header `compression` names none that kombu knows, so the body cannot be read.
    #[error("the header `compression` is {}; this build knows {}", text(.name.as_deref()), .compiled.join(", "))]
    UnknownCompression {
        /// The beginning of the header's value, at most 255 bytes; `None` if it is not text.
        name: Option<String>,
        /// The names of the compressions that are compiled in.
        compiled: &'static [&'static str],
    },
    /// The body cannot be decompressed as its header says.
    #[error("the body cannot be decompressed")]
    Compression(#[source] std::io::Error),
    /// The compression or the content type is not compiled in.
    #[error("the body cannot be decoded: feature `{feature}` of `messaging` is off")]
    NotCompiled {
        /// The feature to turn on.
        feature: &'static str,
    },
    /// The body is over [the consumer's limit](crate::ConsumerBuilder::max_message_size), and was
    /// dropped on arrival.
    #[error("the body of {size} bytes is over the consumer's limit and was dropped on arrival")]
    Withheld {
        /// The size of the body in bytes.
        size: u64,
    },
    /// The decompressed body is over a limit.
    #[error("the decompressed body is over the limit of {limit} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// The body is not JSON, or not of the requested type.
    #[error("the body is not the expected JSON")]
    Json(#[from] serde_json::Error),
    /// The envelope is of a version that is not compatible with 2.0.
    #[error("the envelope has version {0}; expected a version compatible with 2.0")]
    EnvelopeVersion(String),
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    fn boxed() -> BoxError {
        io::Error::other("the cause").into()
    }

    fn client() -> amqp_client::Error {
        amqp_client::Error::ConnectionLost(std::sync::Arc::new(io::Error::other("the cause")))
    }

    fn json() -> serde_json::Error {
        serde_json::from_str::<u8>("the cause").unwrap_err()
    }

    fn undelivered() -> Undelivered {
        Undelivered {
            exchange: String::new(),
            routing_key: "q".to_owned(),
            outcome: Outcome::NotSent,
            attempts: 1,
            elapsed: Duration::ZERO,
            source: Some(Box::new(Error::Broker { operation: "publish".to_owned(), source: client() })),
            is_returned: false,
        }
    }

    #[cfg(feature = "oslo")]
    fn oslo() -> [OsloError; 5] {
        [
            OsloError::Entity { what: "a thing", source: boxed() },
            OsloError::Notify(NotifyError::Pattern { pattern: "(".to_owned(), source: boxed() }),
            OsloError::Notify(NotifyError::Rules(boxed())),
            OsloError::Notify(NotifyError::Driver { driver: "log".to_owned(), source: boxed() }),
            OsloError::Notify(NotifyError::Files(boxed())),
        ]
    }

    /// Returns one error of each kind that has a source.
    fn with_sources() -> Vec<Box<dyn std::error::Error>> {
        let (what, queue) = ("a thing", "q".to_owned());
        let malformed = [
            Malformed::Properties(client()),
            Malformed::Text { content_encoding: "utf-8".to_owned(), source: boxed() },
            Malformed::Decode { content_type: "text/plain".to_owned(), source: boxed() },
            Malformed::Compression(io::Error::other("the cause")),
            Malformed::Json(json()),
        ];
        let mut all: Vec<Box<dyn std::error::Error>> = vec![
            Error::Url(UrlError::NoScheme).into(),
            Error::Connect { host: "h:1".to_owned(), source: client() }.into(),
            Error::Broker { operation: "publish".to_owned(), source: client() }.into(),
            Error::Encode { what, source: json() }.into(),
            Error::Decode { what, source: json() }.into(),
            Error::Serializer(SerializerError::Encode { serializer: "json".to_owned(), source: boxed() })
                .into(),
            Error::Compression(CompressionError::Failed {
                compression: "zlib",
                source: io::Error::other("the cause"),
            })
            .into(),
            Error::QueueTaken { queue: queue.clone(), source: client() }.into(),
            Error::ConsumerEnded { queue, source: Some(client()) }.into(),
            Error::Undelivered(Box::new(undelivered())).into(),
        ];
        all.extend(malformed.map(Into::into));
        #[cfg(feature = "oslo")]
        all.extend(oslo().map(|error| Error::from(error).into()));
        all
    }

    #[test]
    fn no_error_repeats_its_source_and_a_report_says_all_of_it_once() {
        for error in with_sources() {
            let said = Report(&*error).to_string();
            let mut error: &dyn std::error::Error = &*error;
            assert!(error.source().is_some(), "{said} has no source");
            while let Some(source) = error.source() {
                let words = source.to_string();
                assert!(!error.to_string().contains(&words), "{error}: {words}");
                assert_eq!(said.matches(&words).count(), 1, "{said}");
                error = source;
            }
        }
    }

    #[test]
    fn what_stands_between_a_user_and_the_cause_is_read_at_once() {
        assert_eq!(
            Report(&undelivered()).to_string(),
            "the message to exchange \"\" with routing key \"q\" was not sent (attempts: 1, elapsed: 0ns): cannot publish: the connection is lost: the cause"
        );
        let refused = amqp_client::Error::Connect {
            address: "h:1".to_owned(),
            source: std::sync::Arc::new(io::ErrorKind::ConnectionRefused.into()),
        };
        let refused = Error::Connect { host: "h:1".to_owned(), source: refused };
        assert_eq!(
            Report(&refused).to_string(),
            "there is no connection: cannot connect to h:1: connection refused"
        );
        let lost = Error::Connect { host: "h:1".to_owned(), source: client() };
        assert_eq!(
            Report(&lost).to_string(),
            "there is no connection to h:1: the connection is lost: the cause"
        );
    }
}
