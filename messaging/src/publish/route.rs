//! Where a message is published to, and how.

use crate::publish::options::PublishOptions;

/// Where a producer publishes a message to within its exchange, and with which options.
///
/// A routing key becomes one, or a pair of a routing key and [`PublishOptions`].
#[derive(Clone, Copy, Debug)]
pub struct Route<'a> {
    pub(crate) routing_key: &'a str,
    pub(crate) options: Option<&'a PublishOptions>,
}

impl<'a, K: AsRef<str> + ?Sized> From<&'a K> for Route<'a> {
    #[inline]
    fn from(routing_key: &'a K) -> Self {
        Route { routing_key: routing_key.as_ref(), options: None }
    }
}

impl<'a, K: AsRef<str> + ?Sized> From<(&'a K, &'a PublishOptions)> for Route<'a> {
    #[inline]
    fn from((routing_key, options): (&'a K, &'a PublishOptions)) -> Self {
        Route { routing_key: routing_key.as_ref(), options: Some(options) }
    }
}
