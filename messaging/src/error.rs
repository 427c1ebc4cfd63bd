//! What can go wrong, by who has to act on it.

pub(crate) mod conflict;
pub(crate) mod url;

use std::{fmt, time::Duration};

use amqp_client::{Delivery, TlsError};
use amqp_codec::{ReplyCode, Report};

use crate::error::{conflict::Conflict, url::UrlError};
#[cfg(feature = "oslo")]
use crate::oslo::error::{OsloError, notify::NotifyError};

/// This crate's one error. Its text does not hold what its [`source`](std::error::Error::source)
/// says: a [`Report`](crate::Report) says all of it in one line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The transport URL cannot be read.
    #[error("the transport URL cannot be read")]
    Url(#[from] UrlError),
    /// No connection to a broker; with several hosts, what each of them said.
    #[error("no connection{}", unnamed(source, host))]
    Connect {
        /// `host:port`, several with commas between them, or `memory://NAME`.
        host: String,
        /// Why.
        source: amqp_client::Error,
    },
    /// The broker or the connection failed an operation.
    #[error("cannot {operation}")]
    Broker {
        /// What was to be done, to which entity.
        operation: String,
        /// Why.
        source: amqp_client::Error,
    },
    /// An exchange or queue exists otherwise than it was to be declared.
    #[error(transparent)]
    Conflict(Box<Conflict>),
    /// A queue is exclusively another connection's, or has a consumer that has it exclusively.
    #[error("cannot have queue {queue:?}")]
    QueueTaken {
        /// The queue.
        queue: String,
        /// What the broker said.
        source: amqp_client::Error,
    },
    /// The transport was closed by its user.
    #[error("the transport is closed")]
    Closed,
    /// A value has no JSON form.
    #[error("cannot encode {what}")]
    Encode {
        /// What the value was for.
        what: &'static str,
        /// Why.
        source: serde_json::Error,
    },
    /// A message could not be serialized.
    #[error(transparent)]
    Serializer(#[from] SerializerError),
    /// A message could not be compressed.
    #[error(transparent)]
    Compression(#[from] CompressionError),
    /// What arrived is JSON, but not of the type asked for.
    #[error("cannot decode {what}")]
    Decode {
        /// What the value came as.
        what: &'static str,
        /// Why.
        source: serde_json::Error,
    },
    /// A message that could not be delivered, and what is known of it.
    #[error(transparent)]
    Undelivered(Box<Undelivered>),
    /// A delivery whose body could not be read: still to be settled.
    #[error(transparent)]
    Undecodable(Box<Undecodable>),
    /// A consumer, server or listener that cannot go on: its queue was deleted, or its channel
    /// ended.
    #[error("consuming from queue {queue:?} ended")]
    ConsumerEnded {
        /// The queue.
        queue: String,
        /// Why, when anything was said.
        source: Option<amqp_client::Error>,
    },
    /// The deadline passed.
    #[error("no answer within {after:?}: the time ran out while {during}")]
    Timeout {
        /// How long it took until giving up.
        after: Duration,
        /// What was going on.
        during: &'static str,
    },
    /// RPC or notifications failed, beyond what goes wrong with messages.
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
    /// The broker said no in a way that trying again does not change: a wrong password, a missing
    /// virtual host, an entity that exists otherwise.
    pub(crate) fn is_permanent(&self) -> bool {
        match self {
            Error::Url(_)
            | Error::Closed
            | Error::Conflict(_)
            | Error::QueueTaken { .. }
            | Error::Encode { .. }
            | Error::Serializer(_)
            | Error::Compression(_) => true,
            #[cfg(feature = "oslo")]
            Error::Oslo(error) => error.is_permanent(),
            Error::Connect { source, .. } | Error::Broker { source, .. } => permanent(source),
            _ => false,
        }
    }

    /// Tells whether the broker refused something for what it is.
    pub(crate) fn is_precondition_failed(&self) -> bool {
        let Error::Broker { source, .. } = self else { return false };
        source.reply_code() == Some(ReplyCode::PRECONDITION_FAILED)
    }

    /// Tells whether a consumer that ended so, or cannot begin so, is not to begin again: its
    /// transport is closed, its user may not consume, or the queue is somebody else's.
    pub(crate) fn ends_consuming(&self) -> bool {
        matches!(self, Error::Closed)
            || self.is_of_taken_queue()
            || self.said().is_some_and(|said| said.reply_code() == Some(ReplyCode::ACCESS_REFUSED))
    }

    /// Tells whether a queue is exclusively another connection's, or a consumer's.
    pub(crate) fn is_of_taken_queue(&self) -> bool {
        self.said().is_some_and(amqp_client::Error::is_taken)
    }

    /// What the client said.
    fn said(&self) -> Option<&amqp_client::Error> {
        match self {
            Error::Broker { source, .. } | Error::QueueTaken { source, .. } => Some(source),
            Error::ConsumerEnded { source, .. } => source.as_ref(),
            _ => None,
        }
    }

    /// For use with `map_err`: a queue was to be consumed from when the client failed.
    pub(crate) fn consuming(queue: &str) -> impl FnOnce(amqp_client::Error) -> Error {
        move |source| match source {
            amqp_client::Error::QueueTaken { .. } => Error::QueueTaken { queue: queue.to_owned(), source },
            _ => Error::broker(format_args!("consume from queue {queue:?}"))(source),
        }
    }

    /// For use with `map_err`: what was being done when the client failed.
    pub(crate) fn broker(operation: impl fmt::Display) -> impl FnOnce(amqp_client::Error) -> Error {
        move |source| Error::Broker { operation: operation.to_string(), source }
    }
}

/// Whether the broker will say the same again.
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
        // Certificates of this side; those of the broker may be renewed while we try.
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

/// ` to host`, unless the cause names it.
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

/// What is known of a message that was not delivered for certain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// It never left: the broker does not have it.
    NotSent,
    /// The broker refused it, with a nack or by closing the channel for it: it does not have it.
    Rejected,
    /// No queue takes it: the broker does not have it.
    Unroutable,
    /// It left, and no answer came: the broker may have it or not.
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
    "the message to exchange {exchange:?} with key {routing_key:?} {outcome} ({attempts} attempts in {elapsed:?})"
)]
#[non_exhaustive]
pub struct Undelivered {
    /// Where it was published to; empty for the default exchange.
    pub exchange: String,
    /// The routing key it was published with.
    pub routing_key: String,
    /// What is known of it. When any attempt left it unknown, it stays unknown.
    pub outcome: Outcome,
    /// How many attempts were made.
    pub attempts: u32,
    /// From the call to giving up.
    pub elapsed: Duration,
    /// What ended the last attempt, when it was more than time or the broker's plain no.
    pub source: Option<Box<Error>>,
}

/// A delivery whose body is not what the consumer reads.
///
/// # On drop
/// The message stays unacknowledged until its channel ends, and is then delivered again.
#[derive(Debug)]
#[non_exhaustive]
pub struct Undecodable {
    /// The message.
    pub delivery: Delivery,
    /// Why it cannot be read.
    pub reason: Malformed,
}

impl fmt::Display for Undecodable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a message with routing key {:?} cannot be read", self.delivery.routing_key())
    }
}

impl std::error::Error for Undecodable {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.reason)
    }
}

impl Undecodable {
    /// Takes the message off the queue as if it had been handled.
    ///
    /// # Errors
    /// When the channel has ended.
    pub async fn ack(self) -> Result<(), Error> {
        self.delivery.ack().await.map_err(Error::broker("acknowledge an undecodable message"))
    }

    /// Refuses the message: it is dead-lettered where the queue says so, and dropped otherwise.
    ///
    /// # Errors
    /// When the channel has ended.
    pub async fn reject(self) -> Result<(), Error> {
        self.delivery.reject(false).await.map_err(Error::broker("reject an undecodable message"))
    }
}

/// What a serializer has to say beyond its own.
type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What a user's error says, causes and all.
pub(crate) fn words(error: impl Into<BoxError>) -> String {
    Report(&*error.into()).to_string()
}

/// Why a value does not become a body, or a list of content types makes no sense.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SerializerError {
    /// There is no serializer of this name or content type.
    #[error("there is no serializer {0:?}")]
    NotInstalled(String),
    /// One that kombu has, and this library has not on purpose.
    #[error("content of type {name} ({content_type}) is neither written nor read")]
    Refused {
        /// kombu's name for it.
        name: &'static str,
        /// Its content type.
        content_type: &'static str,
    },
    /// It is there, but not in this program.
    #[error("the feature {feature:?} of the crate messaging is off")]
    NotCompiled {
        /// The feature to turn on.
        feature: &'static str,
    },
    /// A serializer's content type or encoding is longer than the 255 bytes it may have.
    #[error("the content type or encoding of serializer {0:?} is over 255 bytes")]
    TooLong(String),
    /// The value has no such form.
    #[error("cannot serialize a value as {serializer}")]
    Encode {
        /// The serializer's name.
        serializer: String,
        /// Why.
        source: BoxError,
    },
}

/// Why a body cannot be compressed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompressionError {
    /// No compression has this name.
    #[error("there is no compression {0:?}")]
    Unknown(String),
    /// It is there, but not in this program.
    #[error("the feature {feature:?} of the crate messaging is off")]
    NotCompiled {
        /// The feature to turn on.
        feature: &'static str,
    },
    /// The compressor failed.
    #[error("{compression} cannot compress a body")]
    Failed {
        /// Which one.
        compression: &'static str,
        /// Why.
        source: std::io::Error,
    },
}

/// Why a body cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Malformed {
    /// The properties cannot be read.
    #[error("its properties cannot be read")]
    Properties(#[source] amqp_client::Error),
    /// Another content type than `application/json`.
    #[error("its content type is {0:?}, not application/json")]
    ContentType(Option<String>),
    /// A content type that is never read: pickle can run what its sender likes, and YAML is not
    /// spoken here.
    #[error("content of type {name} ({content_type}) is refused")]
    Refused {
        /// kombu's name for it.
        name: &'static str,
        /// Its content type.
        content_type: &'static str,
    },
    /// The consumer does not accept this content type.
    #[error("its content type {0:?} is not among those that are accepted")]
    NotAccepted(String),
    /// A content encoding, in small letters, that is none of `utf-8`, `us-ascii`, `iso-8859-1` and
    /// `binary`.
    #[error("its content encoding {0:?} cannot be read")]
    ContentEncoding(String),
    /// Text that is not in its content encoding.
    #[error("its body is not {content_encoding}")]
    Text {
        /// The content encoding, in small letters.
        content_encoding: String,
        /// Why.
        source: BoxError,
    },
    /// Not what its content type says, or not of the type that is asked for.
    #[error("its body, {content_type}, cannot be decoded")]
    Decode {
        /// The content type.
        content_type: String,
        /// Why.
        source: BoxError,
    },
    /// It does not decompress as its header says.
    #[error("its body cannot be decompressed")]
    Compression(#[source] std::io::Error),
    /// It is compressed, or of a content type, in a way that this program has not compiled in.
    #[error("its body cannot be read, for the feature {feature:?} of the crate messaging is off")]
    NotCompiled {
        /// The feature to turn on.
        feature: &'static str,
    },
    /// It is over [what the consumer takes](crate::ConsumerBuilder::max_message_size), and came
    /// without its body.
    #[error("its body, {size} bytes, is over the limit of the consumer and was dropped as it came")]
    Withheld {
        /// The size of the body in bytes.
        size: u64,
    },
    /// Decompressed it is over a limit, in bytes.
    #[error("its body is over {limit} bytes when it is decompressed")]
    TooLarge {
        /// The limit.
        limit: u64,
    },
    /// No JSON, or not of the type that is asked for.
    #[error("its body is not the JSON that is expected")]
    Json(#[from] serde_json::Error),
    /// The envelope is of a version that is not compatible with 2.0.
    #[error("its envelope has the version {0}; 2.0 is read")]
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

    /// Of each kind of error that has a source, one.
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
            "the message to exchange \"\" with key \"q\" was not sent (1 attempts in 0ns): cannot publish: connection lost: the cause"
        );
        let refused = amqp_client::Error::Connect {
            address: "h:1".to_owned(),
            source: std::sync::Arc::new(io::ErrorKind::ConnectionRefused.into()),
        };
        let refused = Error::Connect { host: "h:1".to_owned(), source: refused };
        assert_eq!(Report(&refused).to_string(), "no connection: cannot connect to h:1: connection refused");
        let lost = Error::Connect { host: "h:1".to_owned(), source: client() };
        assert_eq!(Report(&lost).to_string(), "no connection to h:1: connection lost: the cause");
    }
}
