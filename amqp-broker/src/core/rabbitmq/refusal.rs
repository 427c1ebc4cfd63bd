//! Why the broker refuses something: the reply code, what is closed, and RabbitMQ's text, which
//! clients and their users know.

use std::borrow::Cow;

use amqp_codec::{ReplyCode, Scope, ShortString};

use super::access::Act;
use crate::faults::publish_faults::PublishFault;

/// What is wrong with a client's request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("no exchange '{name}' in vhost '{vhost}'")]
    NoExchange { name: String, vhost: String },
    #[error("no queue '{name}' in vhost '{vhost}'")]
    NoQueue { name: String, vhost: String },
    #[error("memory limit in vhost '{vhost}' ({limit} bytes) is reached")]
    NoMemory { vhost: String, limit: u64 },
    /// The request has to wait for another operation, which takes more than a turn, and is then
    /// tried again. This is not a refusal, and it is never sent.
    #[error("not yet")]
    NotYet,
    /// A refusal that a test injects; its own text is not sent.
    #[error("a test ordered it")]
    Injected(PublishFault),
    #[error("no previously declared queue")]
    NoLastQueue,
    /// The code and the scope differ by version.
    #[error("{} exchange type '{name}'", if name.is_empty() { "invalid" } else { "unknown" })]
    UnknownExchangeType { name: String, code: ReplyCode },
    #[error("{what} name '{name}' contains reserved prefix 'amq.*'")]
    ReservedName { what: &'static str, name: String },
    #[error("operation not permitted on the default exchange")]
    DefaultExchange,
    #[error("deletion of system exchange '{name}' in vhost '{vhost}' not allowed")]
    SystemExchange { name: String, vhost: String },
    #[error("inequivalent arg '{argument}' for {what} '{name}' in vhost '{vhost}': {difference}")]
    Inequivalent { argument: String, what: &'static str, name: String, vhost: String, difference: String },
    #[error("invalid arg '{argument}' for queue '{name}' in vhost '{vhost}'{why}")]
    InvalidArgument { argument: &'static str, name: String, vhost: String, why: String },
    #[error("invalid type '{kind}' for arg '{argument}' in {what} '{name}' in vhost '{vhost}'")]
    InvalidType {
        kind: &'static str,
        argument: &'static str,
        what: &'static str,
        name: String,
        vhost: String,
    },
    #[error("invalid property '{property}' for queue '{name}' in vhost '{vhost}'")]
    InvalidProperty { property: &'static str, name: String, vhost: String },
    #[error("{what} '{name}' in vhost '{vhost}' in use")]
    InUse { what: &'static str, name: String, vhost: String },
    #[error("queue '{name}' in vhost '{vhost}' not empty")]
    NotEmpty { name: String, vhost: String },
    #[error(
        "cannot obtain exclusive access to locked queue '{name}' in vhost '{vhost}'. It could be originally declared \
         on another connection or the exclusive property value does not match that of the original declaration."
    )]
    Locked { name: String, vhost: String },
    #[error("queue '{name}' in vhost '{vhost}' in exclusive use")]
    ExclusiveUse { name: String, vhost: String },
    /// Some versions name the act.
    #[error("{}access to {what} '{name}' in vhost '{vhost}' refused for user '{user}'", Act::before_access(*act))]
    Forbidden { act: Option<Act>, what: &'static str, name: String, vhost: String, user: String },
    #[error(
        "{}access to topic '{key}' in exchange '{exchange}' in vhost '{vhost}' refused for user '{user}'",
        Act::before_access(*act)
    )]
    ForbiddenTopic { act: Option<Act>, key: String, exchange: String, vhost: String, user: String },
    #[error(
        "cannot obtain access to locked queue '{name}' in vhost '{vhost}'. basic.get operations are not supported by \
         quorum queues with single active consumer"
    )]
    NoGet { name: String, vhost: String },
    /// It ends with the stream, in the version's words.
    #[error("consumer prefetch count is not set for {0}")]
    NoPrefetch(String),
    #[error("cannot publish to internal exchange '{name}' in vhost '{vhost}'")]
    InternalExchange { name: String, vhost: String },
    #[error("Invalid x-match field value <<\"{0}\">>; expected all, any, all-with-x, or any-with-x")]
    InvalidMatch(String),
    #[error("Invalid x-match field type {kind} (value {value}); expected longstr")]
    InvalidMatchType { kind: &'static str, value: String },
    #[error("attempt to reuse consumer tag '{0}'")]
    ConsumerTagReused(ShortString),
    #[error("unknown delivery tag {0}")]
    UnknownDeliveryTag(u64),
    #[error(
        "delivery acknowledgement on channel {channel} timed out. Timeout value used: {milliseconds} ms. This timeout \
         value can be configured, see consumers doc guide to learn more"
    )]
    AckTimeout { channel: u16, milliseconds: u64 },
    #[error("{0}")]
    Replies(&'static str),
    #[error("cannot switch from tx to confirm mode")]
    TxToConfirm,
    #[error("cannot switch from confirm to tx mode")]
    ConfirmToTx,
    #[error("channel is not transactional")]
    NotTransactional,
    #[error("a transaction has at most {0} publishes")]
    TransactionFull(usize),
    #[error("partial tx completion")]
    PartialCommit,
    #[error("user_id property set to '{claimed}' but authenticated user was '{user}'")]
    WrongUserId { claimed: String, user: String },
    #[error("invalid expiration '{value}': {why}")]
    InvalidExpiration { value: String, why: String },
    #[error("invalid message: {{unacceptable_type_in_header,\"{header}\",{kind}}}")]
    InvalidCarbonCopy { header: &'static str, kind: &'static str },
    #[error("cannot declare queue '{name}': queue limit in vhost '{vhost}' ({limit}) is reached")]
    TooManyQueues { name: String, vhost: String, limit: usize },
    #[error("cannot declare exchange '{name}': exchange limit in vhost '{vhost}' ({limit}) is reached")]
    TooManyExchanges { name: String, vhost: String, limit: usize },
    #[error("cannot bind to exchange '{name}': binding limit in vhost '{vhost}' ({limit}) is reached")]
    TooManyBindings { name: String, vhost: String, limit: usize },
    #[error("reached maximum ({0}) of consumers per channel")]
    TooManyConsumers(usize),
    #[error("limit of unacknowledged deliveries on a channel ({0}) is reached")]
    TooManyUnacked(u32),
    #[error("message size {size} is larger than configured max size {limit}")]
    MessageTooLarge { size: u64, limit: u64 },
    #[error("Exceeded max value for x-stream-max-segment-size-bytes")]
    SegmentTooLarge,
    #[error("Invalid value for  x-stream-filter-size-bytes")]
    FilterSize,
    #[error("Cannot declare a server-named queue for type {0}")]
    NotServerNamed(&'static str),
    #[error(
        "Feature `transient_nonexcl_queues` is deprecated.\nBy default, this feature is not permitted anymore.\nThe \
         feature will be removed from a future major RabbitMQ version, regardless of the configuration; actual version \
         to be determined.\nTo continue using this feature when it is not permitted by default, see its configuration"
    )]
    TransientQueue,
    /// A case in which RabbitMQ crashes and has no text.
    #[error("internal error")]
    Internal,
    #[error("{0}")]
    NotImplemented(String),
    #[error("{0}")]
    Syntax(amqp_codec::Error),
    #[error("{0}")]
    Frame(String),
    #[error("{0}")]
    UnexpectedFrame(Cow<'static, str>),
    #[error("{0}")]
    ChannelError(&'static str),
    #[error("unimplemented method")]
    UnimplementedMethod,
    #[error("number of channels opened ({0}) has reached the negotiated channel_max ({0})")]
    TooManyChannels(u16),
    #[error(
        "number of channels opened for user '{user}' has reached the maximum allowed user limit of ({limit})"
    )]
    TooManyOfUser { user: String, limit: i64 },
    /// RabbitMQ has no such limit, and so no text for it.
    #[error("a body is larger than the memory limit ({limit} bytes)")]
    TooMuchUnpublished { limit: u64 },
    /// RabbitMQ has no such limit, and so no text for it.
    #[error(
        "memory is short, and the connection holds more than {share} bytes that it sent in part or does not read"
    )]
    TooMuchHeld { share: u64 },
    #[error("the disk failed")]
    DiskFailed,
    #[error("broker forced connection closure with reason 'shutdown'")]
    Shutdown,
}

/// The end of a text that was cut.
const CUT: &str = "...";

impl Refusal {
    /// The reply code of the close.
    pub(crate) fn code(&self) -> ReplyCode {
        match self {
            Refusal::NoExchange { .. } | Refusal::NoQueue { .. } | Refusal::NoLastQueue => {
                ReplyCode::NOT_FOUND
            }
            Refusal::ReservedName { .. }
            | Refusal::DefaultExchange
            | Refusal::SystemExchange { .. }
            | Refusal::ExclusiveUse { .. }
            | Refusal::Forbidden { .. }
            | Refusal::ForbiddenTopic { .. }
            | Refusal::InternalExchange { .. } => ReplyCode::ACCESS_REFUSED,
            Refusal::Locked { .. } | Refusal::NoGet { .. } => ReplyCode::RESOURCE_LOCKED,
            Refusal::Inequivalent { .. }
            | Refusal::InvalidArgument { .. }
            | Refusal::InvalidProperty { .. }
            | Refusal::InUse { .. }
            | Refusal::NotEmpty { .. }
            | Refusal::InvalidMatch(_)
            | Refusal::InvalidMatchType { .. }
            | Refusal::InvalidType { .. }
            | Refusal::UnknownDeliveryTag(_)
            | Refusal::TxToConfirm
            | Refusal::ConfirmToTx
            | Refusal::NotTransactional
            | Refusal::TransactionFull(_)
            | Refusal::PartialCommit
            | Refusal::WrongUserId { .. }
            | Refusal::InvalidExpiration { .. }
            | Refusal::InvalidCarbonCopy { .. }
            | Refusal::TooManyQueues { .. }
            | Refusal::TooManyExchanges { .. }
            | Refusal::TooManyBindings { .. }
            | Refusal::NoMemory { .. }
            | Refusal::TooManyUnacked(_)
            | Refusal::SegmentTooLarge
            | Refusal::FilterSize
            | Refusal::AckTimeout { .. }
            | Refusal::Replies(_)
            | Refusal::NoPrefetch(_)
            | Refusal::NotServerNamed(_)
            | Refusal::MessageTooLarge { .. } => ReplyCode::PRECONDITION_FAILED,
            Refusal::ConsumerTagReused(_)
            | Refusal::TooManyChannels(_)
            | Refusal::TooManyOfUser { .. }
            | Refusal::TooManyConsumers(_) => ReplyCode::NOT_ALLOWED,
            Refusal::UnknownExchangeType { code, .. } => *code,
            Refusal::UnimplementedMethod => ReplyCode::COMMAND_INVALID,
            Refusal::NotImplemented(_) => ReplyCode::NOT_IMPLEMENTED,
            Refusal::Syntax(error) => error.reply_code(),
            Refusal::Frame(_) => ReplyCode::FRAME_ERROR,
            Refusal::UnexpectedFrame(_) => ReplyCode::UNEXPECTED_FRAME,
            Refusal::ChannelError(_) => ReplyCode::CHANNEL_ERROR,
            Refusal::TooMuchUnpublished { .. } | Refusal::TooMuchHeld { .. } => ReplyCode::RESOURCE_ERROR,
            Refusal::TransientQueue | Refusal::Internal | Refusal::NotYet | Refusal::Injected(_) => {
                ReplyCode::INTERNAL_ERROR
            }
            Refusal::DiskFailed => ReplyCode::INTERNAL_ERROR,
            Refusal::Shutdown => ReplyCode::CONNECTION_FORCED,
        }
    }

    /// Tells whether the whole connection is closed for it, and not only the channel.
    pub(crate) fn closes_connection(&self) -> bool {
        self.code().scope() != Some(Scope::Channel)
    }

    /// `CODE_NAME - text`, see [`reply_text`].
    pub(crate) fn reply_text(&self) -> ShortString {
        match self {
            Refusal::Internal => ShortString::from_static("INTERNAL_ERROR"),
            _ => reply_text(self.code(), &self.to_string()),
        }
    }
}

/// `CODE_NAME - text`. As in RabbitMQ, one that is longer than a short string is cut, and ends with
/// three dots.
pub(crate) fn reply_text(code: ReplyCode, text: &str) -> ShortString {
    let mut whole = format!("{} - {text}", code.name().unwrap_or("ERROR"));
    if whole.len() > ShortString::MAX {
        whole.truncate(whole.floor_char_boundary(ShortString::MAX - CUT.len()));
        whole.push_str(CUT);
    }
    ShortString::try_from(whole).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_longer_than_a_short_string_is_cut_at_a_character() {
        let (name, code) = ("\u{e9}".repeat(200), ReplyCode::COMMAND_INVALID);
        let refusal = Refusal::UnknownExchangeType { name, code };
        let text = refusal.reply_text();
        assert!(text.len() <= 255 && text.as_str().is_ok(), "{text}");
        assert!(text.to_text().starts_with("COMMAND_INVALID - unknown exchange type '"));
        assert!(text.to_text().ends_with("\u{e9}..."), "{text}");
    }
}
