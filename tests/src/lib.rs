//! What the integration suite stands on: brokers to test against, and ways to disturb them.
//!
//! Nothing here needs to be installed: a test asks with a `require` function and returns when it gets nothing,
//! which the run then says aloud (see [`leave_out`]). `tests/run` installs and starts everything.

mod left_out;
mod node;
pub mod peer;
mod process;
mod proxy;
mod python;
mod rabbitmq;
mod tls;

pub use left_out::leave_out;
pub use node::Node;
pub use peer::Peer;
pub use proxy::{Direction, Proxy};
pub use python::Python;
pub use rabbitmq::RabbitMq;
pub use tls::{Authority, Identity, TlsTerminator};
