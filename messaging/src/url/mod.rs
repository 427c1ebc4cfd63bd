//! Transport URLs, as kombu and oslo.messaging write them.

mod options;
#[cfg(feature = "oslo")]
mod topology;
mod transport_url;

#[cfg(feature = "oslo")]
pub(crate) use topology::take as take_topology;
pub(crate) use transport_url::TransportUrl;
