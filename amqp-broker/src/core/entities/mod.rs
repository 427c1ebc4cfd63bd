//! The entities of a virtual host.

pub(crate) mod channel;
pub(crate) mod connection;
pub(crate) mod consumer;
pub(crate) mod dead_letters;
pub(crate) mod exchange;
pub(crate) mod ids;
pub(crate) mod line;
pub(crate) mod message_store;
pub(crate) mod queue;
pub(crate) mod ready;
pub(crate) mod reply_consumer;
pub(crate) mod stream;
pub(crate) mod unacked;
pub(crate) mod waiting_consumers;
