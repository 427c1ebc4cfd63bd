//! The consumers of a connection, by queue: which queues are worth asking, and who gets a message.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::Bound,
};

use amqp_codec::ShortString;

use super::channel::Channel;
use crate::backend::{QueueOrder, Source};

/// The most messages that are claimed from a queue at once.
const MOST_AT_ONCE: usize = 256;

/// A consumer.
#[derive(Clone, Debug)]
pub(crate) struct Consumer {
    pub(crate) channel: u16,
    pub(crate) tag: ShortString,
    pub(crate) no_ack: bool,
    /// The most deliveries that may be unsettled; 0 is any number.
    pub(crate) prefetch: u16,
    pub(crate) priority: i64,
    pub(crate) unsettled: usize,
}

/// What is wanted of a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) queue: String,
    pub(crate) no_ack: bool,
    pub(crate) most: usize,
}

impl Wanted {
    pub(crate) fn as_source(&self) -> Source<'_> {
        Source { queue: &self.queue, no_ack: self.no_ack, most: self.most }
    }
}

/// The consumers of a connection.
#[derive(Debug, Default)]
pub(crate) struct Consumers {
    /// The consumers of each queue, those of a higher priority first.
    queues: BTreeMap<String, Vec<Consumer>>,
    /// The queue of each consumer.
    tags: HashMap<(u16, ShortString), String>,
    /// The queues that may have messages.
    ready: BTreeSet<String>,
    /// The queue that is asked first next, in turn.
    last: String,
    order: QueueOrder,
    /// The queues in the order in which they got a consumer.
    begun: Vec<String>,
}

impl Consumers {
    /// There are none; their queues are asked in this order.
    pub(crate) fn new(order: QueueOrder) -> Self {
        Consumers { order, ..Consumers::default() }
    }

    /// Tells whether the channel has a consumer of this tag.
    pub(crate) fn has(&self, channel: u16, tag: &ShortString) -> bool {
        self.tags.contains_key(&(channel, tag.clone()))
    }

    /// Adds a consumer; tells whether it is the first of its queue.
    pub(crate) fn add(&mut self, queue: &str, consumer: Consumer) -> bool {
        self.tags.insert((consumer.channel, consumer.tag.clone()), queue.to_owned());
        self.ready.insert(queue.to_owned());
        let consumers = self.queues.entry(queue.to_owned()).or_default();
        let place = consumers.partition_point(|other| other.priority >= consumer.priority);
        consumers.insert(place, consumer);
        let is_first = consumers.len() == 1;
        if is_first && self.order == QueueOrder::Priority {
            self.begun.push(queue.to_owned());
        }
        is_first
    }

    /// Removes a consumer; returns its queue, and whether the queue has no other.
    pub(crate) fn remove(&mut self, channel: u16, tag: &ShortString) -> Option<(String, bool)> {
        let queue = self.tags.remove(&(channel, tag.clone()))?;
        let consumers = self.queues.get_mut(&queue)?;
        consumers.retain(|consumer| consumer.channel != channel || consumer.tag != *tag);
        let is_last = consumers.is_empty();
        if is_last {
            self.queues.remove(&queue);
            self.ready.remove(&queue);
            self.begun.retain(|begun| *begun != queue);
        }
        Some((queue, is_last))
    }

    /// The tags of a channel's consumers.
    pub(crate) fn of_channel(&self, channel: u16) -> Vec<ShortString> {
        self.tags.keys().filter(|(number, _)| *number == channel).map(|(_, tag)| tag.clone()).collect()
    }

    /// The consumers of a queue, by channel and tag.
    pub(crate) fn of_queue(&self, queue: &str) -> Vec<(u16, ShortString)> {
        let consumers = self.queues.get(queue).into_iter().flatten();
        consumers.map(|consumer| (consumer.channel, consumer.tag.clone())).collect()
    }

    /// Notes that a queue may have messages.
    pub(crate) fn wake(&mut self, queue: &str) {
        if self.queues.contains_key(queue) {
            self.ready.insert(queue.to_owned());
        }
    }

    /// Notes that a queue has no more messages.
    pub(crate) fn drained(&mut self, queue: &str) {
        self.ready.remove(queue);
    }

    /// Notes that a consumer's delivery is settled.
    pub(crate) fn settled(&mut self, channel: u16, tag: &ShortString) {
        let Some(queue) = self.tags.get(&(channel, tag.clone())) else { return };
        let consumers = self.queues.get_mut(queue).into_iter().flatten();
        for consumer in consumers.filter(|consumer| consumer.channel == channel && consumer.tag == *tag) {
            consumer.unsettled = consumer.unsettled.saturating_sub(1);
        }
    }

    /// What to ask the queues for that may have messages: no more than consumers may get.
    pub(crate) fn wanted<C>(&mut self, channels: &BTreeMap<u16, Channel<C>>) -> Vec<Wanted> {
        let mut rooms = HashMap::new();
        let (mut wanted, mut next) = (Vec::<Wanted>::new(), None);
        for queue in self.in_order() {
            if wanted.first().is_some_and(|first| first.queue != *queue) {
                next.get_or_insert(queue);
            }
            let consumers = self.queues.get(queue).map_or(&[][..], Vec::as_slice);
            let mut most = [0_usize, 0];
            for consumer in consumers {
                let kind = &mut most[usize::from(consumer.no_ack)];
                *kind = kind.saturating_add(credit(consumer, channels, &mut rooms));
            }
            for (no_ack, most) in [false, true].into_iter().zip(most).filter(|(_, most)| *most > 0) {
                wanted.push(Wanted { queue: queue.clone(), no_ack, most: most.min(MOST_AT_ONCE) });
            }
        }
        // The others may find nothing left of a shared prefetch, so it is their turn next.
        if let Some(next) = next.filter(|_| self.order == QueueOrder::RoundRobin) {
            self.last = next.clone();
        }
        wanted
    }

    /// The queues that may have messages, the next one first.
    fn in_order(&self) -> Box<dyn Iterator<Item = &String> + '_> {
        if self.order == QueueOrder::Priority {
            return Box::new(self.begun.iter().filter(|queue| self.ready.contains(*queue)));
        }
        // By name, beginning with the one whose turn it is.
        let last = self.last.as_str();
        let after = self.ready.range::<str, _>((Bound::Included(last), Bound::Unbounded));
        let before = self.ready.range::<str, _>((Bound::Unbounded, Bound::Excluded(last)));
        Box::new(after.chain(before))
    }

    /// Chooses who gets a message of a queue: the first of the highest priority that may get one,
    /// which is then the last of its priority.
    pub(crate) fn choose<C>(
        &mut self,
        queue: &str,
        no_ack: bool,
        channels: &BTreeMap<u16, Channel<C>>,
    ) -> Option<(u16, ShortString)> {
        let consumers = self.queues.get_mut(queue)?;
        let may_get = |consumer: &Consumer| {
            consumer.no_ack == no_ack && credit(consumer, channels, &mut HashMap::new()) > 0
        };
        let place = consumers.iter().position(may_get)?;
        let mut chosen = consumers.remove(place);
        chosen.unsettled += usize::from(!no_ack);
        let answer = (chosen.channel, chosen.tag.clone());
        let end = consumers.partition_point(|other| other.priority >= chosen.priority);
        consumers.insert(end, chosen);
        Some(answer)
    }
}

/// How many messages a consumer may get now. `rooms` keeps what other consumers have left of each
/// channel's shared prefetch.
fn credit<C>(
    consumer: &Consumer,
    channels: &BTreeMap<u16, Channel<C>>,
    rooms: &mut HashMap<u16, usize>,
) -> usize {
    let Some(channel) = channels.get(&consumer.channel).filter(|channel| !channel.is_closing) else {
        return 0;
    };
    if consumer.no_ack {
        return MOST_AT_ONCE;
    }
    let own = left(consumer.prefetch, consumer.unsettled);
    let room =
        rooms.entry(consumer.channel).or_insert_with(|| left(channel.shared_prefetch, channel.unsettled()));
    let credit = own.min(*room).min(MOST_AT_ONCE);
    *room -= credit;
    credit
}

/// What is left of a prefetch; 0 is no limit.
fn left(prefetch: u16, unsettled: usize) -> usize {
    match prefetch {
        0 => usize::MAX,
        most => usize::from(most).saturating_sub(unsettled),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn consumer(tag: &'static str, prefetch: u16, priority: i64) -> Consumer {
        let tag = ShortString::from_static(tag);
        Consumer { channel: 1, tag, no_ack: false, prefetch, priority, unsettled: 0 }
    }

    fn channels(shared_prefetch: u16) -> BTreeMap<u16, Channel<()>> {
        let mut channel = Channel::default();
        channel.shared_prefetch = shared_prefetch;
        BTreeMap::from([(1, channel)])
    }

    fn chosen(consumers: &mut Consumers, channels: &BTreeMap<u16, Channel<()>>) -> String {
        let chosen = consumers.choose("q", false, channels);
        chosen.map_or_else(String::new, |(_, tag)| tag.to_text().into_owned())
    }

    #[test]
    fn consumers_take_turns_within_their_prefetch() {
        let (mut consumers, channels) = (Consumers::default(), channels(0));
        assert!(consumers.add("q", consumer("a", 2, 0)));
        assert!(!consumers.add("q", consumer("b", 1, 0)));
        assert_eq!(consumers.wanted(&channels)[0].most, 3);
        let order: Vec<_> = (0..4).map(|_| chosen(&mut consumers, &channels)).collect();
        assert_eq!(order, ["a", "b", "a", ""]);
        consumers.settled(1, &ShortString::from_static("b"));
        assert_eq!(chosen(&mut consumers, &channels), "b");
    }

    #[test]
    fn a_higher_priority_comes_first() {
        let (mut consumers, channels) = (Consumers::default(), channels(0));
        consumers.add("q", consumer("low", 0, 0));
        consumers.add("q", consumer("high", 1, 5));
        let order: Vec<_> = (0..3).map(|_| chosen(&mut consumers, &channels)).collect();
        assert_eq!(order, ["high", "low", "low"]);
    }

    #[test]
    fn a_shared_prefetch_limits_all_consumers_of_the_channel() {
        let (mut consumers, channels) = (Consumers::default(), channels(3));
        consumers.add("q", consumer("a", 2, 0));
        consumers.add("r", consumer("b", 2, 0));
        let wanted = consumers.wanted(&channels);
        assert_eq!(wanted.iter().map(|wanted| wanted.most).sum::<usize>(), 3);
    }

    #[test]
    fn queues_that_have_nothing_are_not_asked() {
        let (mut consumers, channels) = (Consumers::default(), channels(0));
        consumers.add("q", consumer("a", 1, 0));
        consumers.drained("q");
        assert!(consumers.wanted(&channels).is_empty());
        consumers.wake("q");
        consumers.wake("others");
        assert_eq!(consumers.wanted(&channels).len(), 1);
        assert_eq!(consumers.remove(1, &ShortString::from_static("a")), Some(("q".to_owned(), true)));
        assert!(consumers.wanted(&channels).is_empty());
    }

    #[test]
    fn queues_are_asked_in_the_order_that_is_wanted() {
        for (order, expected) in
            [(QueueOrder::Priority, ["c", "a", "a", "c"]), (QueueOrder::Sorted, ["a", "a", "a", "b"])]
        {
            let (mut consumers, channels) = (Consumers::new(order), channels(1));
            for queue in ["c", "a", "b"] {
                let tag = ShortString::try_from(queue).unwrap();
                consumers.add(queue, Consumer { tag, ..consumer("", 0, 0) });
            }
            let mut firsts = Vec::new();
            let mut first = |consumers: &mut Consumers| {
                let wanted = consumers.wanted(&channels);
                assert_eq!(wanted.len(), 1, "the first one takes all of the shared prefetch");
                firsts.push(wanted[0].queue.clone());
            };
            first(&mut consumers);
            consumers.drained("c");
            first(&mut consumers);
            first(&mut consumers);
            consumers.wake("c");
            consumers.drained("a");
            first(&mut consumers);
            assert_eq!(firsts, expected);
        }
    }

    #[test]
    fn queues_are_asked_in_turn() {
        let (mut consumers, channels) = (Consumers::default(), channels(0));
        for queue in ["a", "b", "c"] {
            let tag = ShortString::try_from(queue).unwrap();
            consumers.add(queue, Consumer { tag, ..consumer("", 0, 0) });
        }
        let firsts: Vec<_> = (0..3).map(|_| consumers.wanted(&channels)[0].queue.clone()).collect();
        assert_eq!(firsts, ["a", "b", "c"]);
    }
}
