//! A publish kept until the broker has confirmed it, to be repeated on a new connection.

use amqp_codec::ShortString;

use crate::message::Message;
use crate::options::route::Route;

#[derive(Clone, Debug)]
pub(crate) struct Kept {
    pub(crate) exchange: ShortString,
    pub(crate) routing_key: ShortString,
    pub(crate) mandatory: bool,
    pub(crate) message: Message,
}

impl Kept {
    /// Copies a publish that has been encoded, so that its names are known to fit.
    pub(crate) fn new(route: Route<'_>, message: &Message) -> Self {
        let short = |what, text| ShortString::new(what, text).unwrap_or_default();
        Kept {
            exchange: short("exchange", route.exchange),
            routing_key: short("routing_key", route.routing_key),
            mandatory: route.mandatory,
            message: message.clone(),
        }
    }

    pub(crate) fn route(&self) -> Route<'_> {
        Route {
            exchange: self.exchange.as_str().unwrap_or_default(),
            routing_key: self.routing_key.as_str().unwrap_or_default(),
            mandatory: self.mandatory,
        }
    }
}
