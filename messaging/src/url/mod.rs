//! Transport URLs, as kombu and oslo.messaging write them.

mod options;
mod topology;
mod transport_url;

pub(crate) use topology::take as take_topology;
pub(crate) use transport_url::TransportUrl;
