//! Reply codes: why a channel or connection was closed, or a message returned (spec section 1.2.1
//! of the generated reference, "constants").

use std::fmt;

/// The number a broker or client gives as the reason of a close or a return.
///
/// Any number can arrive, so this is a newtype with named constants, not an enum.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct ReplyCode(pub u16);

/// What a reply code closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// It closes nothing: it is the outcome of one message (312, 313) or success (200).
    Message,
    /// It closes the channel; the connection stays open.
    Channel,
    /// It closes the whole connection.
    Connection,
}

macro_rules! reply_codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $text:literal, $scope:ident;)*) => {
        impl ReplyCode {
            $($(#[$doc])* pub const $name: ReplyCode = ReplyCode($code);)*

            /// Every code the protocol names.
            pub const ALL: &'static [ReplyCode] = &[$(ReplyCode::$name),*];

            /// The code's name as brokers write it at the start of a reply text, `NOT_FOUND` for
            /// 404.
            pub const fn name(self) -> Option<&'static str> {
                match self.0 { $($code => Some($text),)* _ => None }
            }

            /// Returns what this code closes; `None` for a number the protocol does not name.
            pub const fn scope(self) -> Option<Scope> {
                match self.0 { $($code => Some(Scope::$scope),)* _ => None }
            }
        }
    };
}

reply_codes! {
    /// The close was asked for; nothing is wrong.
    SUCCESS = 200, "REPLY_SUCCESS", Message;
    /// The content is larger than the peer takes now.
    CONTENT_TOO_LARGE = 311, "CONTENT_TOO_LARGE", Channel;
    /// A mandatory message matched no queue.
    NO_ROUTE = 312, "NO_ROUTE", Message;
    /// An immediate message found no consumer.
    NO_CONSUMERS = 313, "NO_CONSUMERS", Message;
    /// An operator ended the connection.
    CONNECTION_FORCED = 320, "CONNECTION_FORCED", Connection;
    /// The virtual host is unknown.
    INVALID_PATH = 402, "INVALID_PATH", Connection;
    /// The login, or the right to this entity, was refused.
    ACCESS_REFUSED = 403, "ACCESS_REFUSED", Channel;
    /// The entity does not exist.
    NOT_FOUND = 404, "NOT_FOUND", Channel;
    /// Another connection holds the entity.
    RESOURCE_LOCKED = 405, "RESOURCE_LOCKED", Channel;
    /// The entity exists but differs, or the state does not allow this.
    PRECONDITION_FAILED = 406, "PRECONDITION_FAILED", Channel;
    /// A frame could not be read.
    FRAME_ERROR = 501, "FRAME_ERROR", Connection;
    /// A frame's fields could not be read.
    SYNTAX_ERROR = 502, "SYNTAX_ERROR", Connection;
    /// The method cannot be used now.
    COMMAND_INVALID = 503, "COMMAND_INVALID", Connection;
    /// The channel is not open, or is open already.
    CHANNEL_ERROR = 504, "CHANNEL_ERROR", Connection;
    /// A frame came that the protocol does not allow at this point.
    UNEXPECTED_FRAME = 505, "UNEXPECTED_FRAME", Connection;
    /// The peer lacks a resource.
    RESOURCE_ERROR = 506, "RESOURCE_ERROR", Connection;
    /// The peer may not do this.
    NOT_ALLOWED = 530, "NOT_ALLOWED", Connection;
    /// The peer does not know how to do this.
    NOT_IMPLEMENTED = 540, "NOT_IMPLEMENTED", Connection;
    /// The peer failed internally.
    INTERNAL_ERROR = 541, "INTERNAL_ERROR", Connection;
}

impl fmt::Display for ReplyCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "{} {name}", self.0),
            None => write!(f, "{}", self.0),
        }
    }
}

impl fmt::Debug for ReplyCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<u16> for ReplyCode {
    fn from(code: u16) -> Self {
        ReplyCode(code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_named_code_has_a_name_and_a_scope() {
        for code in ReplyCode::ALL {
            assert!(code.name().is_some() && code.scope().is_some(), "{code}");
        }
        assert_eq!(ReplyCode(999).name(), None);
        assert_eq!(ReplyCode::NOT_FOUND.to_string(), "404 NOT_FOUND");
    }
}
