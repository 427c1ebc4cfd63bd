//! A channel: the content that arrives, confirms, and deliveries that are not settled.

use std::collections::BTreeMap;

use amqp_codec::{ShortString, content::Assembler, method::basic};

use crate::core::rabbitmq::refusal::Refusal;

/// An open channel.
#[derive(Debug)]
pub(crate) struct Channel<C> {
    /// Set when the broker has closed it; everything but the answer is ignored.
    pub(crate) is_closing: bool,
    pub(crate) incoming: Assembler<basic::Publish>,
    /// How many octets of the incomplete body have arrived.
    pub(crate) arrived: u64,
    /// Set while a body arrives that is larger than allowed, and is not kept.
    pub(crate) is_excessive: bool,
    /// The name of the queue that was declared last.
    pub(crate) last_queue: ShortString,
    /// The prefetch of consumers that are started from now on; 0 is none.
    pub(crate) prefetch: u16,
    /// The prefetch of all consumers together; 0 is none.
    pub(crate) shared_prefetch: u16,
    /// How many publishes are answered, in confirm mode.
    pub(crate) confirmed: Option<u64>,
    last_tag: u64,
    unsettled: BTreeMap<u64, Unsettled<C>>,
}

/// A delivery that is not settled.
#[derive(Debug)]
pub(crate) struct Unsettled<C> {
    pub(crate) claim: Option<C>,
    /// The consumer that got it; `None` for one that was got.
    pub(crate) consumer: Option<ShortString>,
}

impl<C> Default for Channel<C> {
    fn default() -> Self {
        Channel {
            is_closing: false,
            incoming: Assembler::default(),
            arrived: 0,
            is_excessive: false,
            last_queue: ShortString::EMPTY,
            prefetch: 0,
            shared_prefetch: 0,
            confirmed: None,
            last_tag: 0,
            unsettled: BTreeMap::new(),
        }
    }
}

impl<C> Channel<C> {
    /// The tag of a delivery that needs no settlement.
    pub(crate) fn next_tag(&mut self) -> u64 {
        self.last_tag += 1;
        self.last_tag
    }

    /// The tag of a delivery that is to be settled.
    pub(crate) fn deliver(&mut self, delivery: Unsettled<C>) -> u64 {
        let tag = self.next_tag();
        self.unsettled.insert(tag, delivery);
        tag
    }

    /// How many deliveries are not settled.
    pub(crate) fn unsettled(&self) -> usize {
        self.unsettled.len()
    }

    /// Takes the deliveries that a settlement names; `multiple` means all up to this tag, and all
    /// there are with tag 0 (spec section 1.8.3.13).
    ///
    /// # Errors
    /// When there is no such delivery (406).
    pub(crate) fn settle(&mut self, tag: u64, multiple: bool) -> Result<Vec<Unsettled<C>>, Refusal> {
        if multiple && tag == 0 {
            return Ok(self.take_all());
        }
        if tag == 0 || tag > self.last_tag || !multiple && !self.unsettled.contains_key(&tag) {
            return Err(Refusal::UnknownDeliveryTag(tag));
        }
        if !multiple {
            return Ok(self.unsettled.remove(&tag).into_iter().collect());
        }
        let rest = self.unsettled.split_off(&(tag + 1));
        let settled = std::mem::replace(&mut self.unsettled, rest);
        match settled.is_empty() {
            true => Err(Refusal::UnknownDeliveryTag(tag)),
            false => Ok(settled.into_values().collect()),
        }
    }

    /// Takes all deliveries that are not settled.
    pub(crate) fn take_all(&mut self) -> Vec<Unsettled<C>> {
        std::mem::take(&mut self.unsettled).into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channel(deliveries: u32) -> Channel<u32> {
        let mut channel = Channel::default();
        for claim in 1..=deliveries {
            channel.deliver(Unsettled { claim: Some(claim), consumer: None });
        }
        channel
    }

    fn claims(settled: Vec<Unsettled<u32>>) -> Vec<u32> {
        settled.into_iter().filter_map(|delivery| delivery.claim).collect()
    }

    #[test]
    fn one_or_all_up_to_a_tag_are_settled() {
        let mut channel = channel(5);
        assert_eq!(claims(channel.settle(2, false).unwrap()), [2]);
        assert_eq!(claims(channel.settle(4, true).unwrap()), [1, 3, 4]);
        assert_eq!(claims(channel.settle(0, true).unwrap()), [5]);
        assert_eq!(channel.unsettled(), 0);
    }

    #[test]
    fn a_tag_that_is_unknown_is_refused() {
        let mut channel = channel(2);
        channel.settle(1, false).unwrap();
        for (tag, multiple) in [(1, false), (3, false), (3, true), (0, false), (1, true)] {
            assert_eq!(channel.settle(tag, multiple).unwrap_err(), Refusal::UnknownDeliveryTag(tag));
        }
        assert_eq!(channel.settle(0, true).unwrap().len(), 1);
        assert!(channel.settle(0, true).unwrap().is_empty(), "all of none is no error");
    }
}
