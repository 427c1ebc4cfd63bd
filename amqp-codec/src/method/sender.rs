//! Which side may send a method.

use std::fmt;

/// Which side may send a method: the side opposite the one that the specification says implements
/// it (section 1.3 and following of the generated reference), and RabbitMQ's extensions.
///
/// ```
/// use amqp_codec::{Arguments as _, Sender, method::basic};
///
/// assert_eq!(basic::Publish::SENDER, Sender::Client);
/// assert_eq!(basic::Deliver::SENDER, Sender::Server);
/// // RabbitMQ nacks publishes, too.
/// assert!(basic::Nack::SENDER.may_be_client() && basic::Nack::SENDER.may_be_server());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sender {
    /// Only the client sends it.
    Client,
    /// Only the server, which is the broker, sends it.
    Server,
    /// Both sides send it.
    Either,
}

impl Sender {
    /// Tells whether a client may send it.
    pub const fn may_be_client(self) -> bool {
        matches!(self, Sender::Client | Sender::Either)
    }

    /// Tells whether a server may send it.
    pub const fn may_be_server(self) -> bool {
        matches!(self, Sender::Server | Sender::Either)
    }
}

/// Shows `the client`, `the server` or `either side`.
impl fmt::Display for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Sender::Client => "the client",
            Sender::Server => "the server",
            Sender::Either => "either side",
        })
    }
}
