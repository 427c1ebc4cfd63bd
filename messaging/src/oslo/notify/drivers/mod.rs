//! The drivers of this library, with the names that oslo.messaging gives them.

mod log;
mod mask;
mod messaging;
mod named;
mod noop;
mod routing;
mod rules;
mod test;

pub use log::Log;
pub(crate) use mask::is_secret;
pub use messaging::Messaging;
pub use named::by_name;
pub use noop::Noop;
pub use routing::Routing;
pub use rules::Rules;
pub use test::Test;
