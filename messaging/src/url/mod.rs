//! Transport URLs, as kombu and oslo.messaging write them.

mod options;
mod transport_url;

pub(crate) use transport_url::TransportUrl;
