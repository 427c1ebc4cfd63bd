//! Transport URLs, as kombu and oslo.messaging write them.

mod options;
#[cfg(feature = "oslo")]
mod oslo_options;
mod transport_url;

#[cfg(feature = "oslo")]
pub(crate) use oslo_options::take as take_oslo_options;
pub(crate) use transport_url::TransportUrl;
