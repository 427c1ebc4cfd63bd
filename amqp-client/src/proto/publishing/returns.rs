//! Returned messages, and the mandatory publishes that they are matched with, because a
//! `basic.return` has no tag.

use std::{
    collections::VecDeque,
    hash::{DefaultHasher, Hash, Hasher},
};

use amqp_codec::ReplyCode;
use bytes::Bytes;

use crate::{event::Event, proto::consuming::delivery::RawDelivery};

/// A `basic.return` with its content.
#[derive(Clone, Debug)]
pub(crate) struct RawReturn {
    pub(crate) code: u16,
    pub(crate) text: String,
    pub(crate) content: RawDelivery,
}

impl RawReturn {
    /// Returns the event for a return of which no publish is told.
    pub(crate) fn event(self, channel: u16) -> Event {
        let text = |name| String::from_utf8_lossy(name).into_owned();
        Event::Returned {
            channel,
            exchange: text(self.content.exchange()),
            routing_key: text(self.content.routing_key()),
            code: ReplyCode(self.code),
            text: self.text,
        }
    }
}

/// Unsettled mandatory publishes, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Mandatory(VecDeque<Published>);

#[derive(Debug)]
struct Published {
    tag: u64,
    route: u64,
    body: Bytes,
}

impl Mandatory {
    /// Tells whether no publish can be returned.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds a publish that may be returned.
    pub(crate) fn push(&mut self, tag: u64, exchange: &[u8], routing_key: &[u8], body: Bytes) {
        self.0.push_back(Published { tag, route: route(exchange, routing_key), body });
    }

    /// Returns how many publishes may be returned.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Tells whether this publish may be returned.
    pub(crate) fn contains(&self, tag: u64) -> bool {
        self.0.binary_search_by_key(&tag, |published| published.tag).is_ok()
    }

    /// Removes a settled publish.
    pub(crate) fn remove(&mut self, tag: u64) {
        if self.0.front().is_some_and(|first| first.tag == tag) {
            self.0.pop_front();
        } else if let Ok(index) = self.0.binary_search_by_key(&tag, |published| published.tag) {
            self.0.remove(index);
        }
    }

    /// Removes all publishes up to this tag.
    pub(crate) fn remove_up_to(&mut self, last: u64) {
        while self.0.front().is_some_and(|first| first.tag <= last) {
            self.0.pop_front();
        }
    }

    /// Removes all publishes.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// Takes the returned publish: the oldest equal one behind `answered`, or else the oldest equal
    /// one of all.
    pub(crate) fn take(&mut self, returned: &RawReturn, answered: u64) -> Option<u64> {
        let route = route(returned.content.exchange(), returned.content.routing_key());
        let body = &returned.content.body;
        let is_it = |published: &Published| published.route == route && published.body == *body;
        let behind = self.0.partition_point(|published| published.tag <= answered);
        let found = self.0.iter().skip(behind).position(is_it).map(|index| behind + index);
        let found = found.or_else(|| self.0.iter().take(behind).position(is_it));
        found.and_then(|index| self.0.remove(index)).map(|published| published.tag)
    }

    /// Frees memory that an idle channel does not need.
    pub(crate) fn release(&mut self) {
        self.0.shrink_to(0);
    }
}

fn route(exchange: &[u8], routing_key: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    exchange.hash(&mut hasher);
    routing_key.hash(&mut hasher);
    hasher.finish()
}
