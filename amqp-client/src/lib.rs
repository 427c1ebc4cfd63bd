//! A client for RabbitMQ and other AMQP 0-9-1 brokers, on tokio.

mod channel;
mod connection;
mod consumer;
mod delivery;
mod driver;
mod error;
mod message;
mod options;
mod proto;
mod publisher;
mod shared;
mod topology;
mod transport;
mod uri;

pub use amqp_codec::{Array, Properties, ReplyCode, ShortString, Table, Value};
pub use channel::{Channel, Declare};
pub use connection::{Connection, connect};
pub use consumer::Consumer;
pub use delivery::Delivery;
pub use error::{Close, Error, Result};
pub use message::Message;
pub use options::{ConnectOptions, ConsumeOptions};
pub use publisher::{Confirm, Confirmation, Publisher, Returned};
pub use topology::{Exchange, Queue, QueueInfo};
pub use uri::Uri;
