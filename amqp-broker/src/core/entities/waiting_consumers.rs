//! Consumers that wait until their channel allows one more delivery, and their order.
//!
//! Queues take turns, and the consumer of the highest priority goes first within a queue, as in
//! RabbitMQ's limiter. So each queue gets its share of a shared limit, and a priority counts within
//! its queue.

use std::{cmp::Reverse, collections::BTreeMap};

use super::ids::{ConsumerId, QueueId};

/// The waiting consumers of a channel.
#[derive(Debug, Default)]
pub(crate) struct WaitingConsumers {
    last: u64,
    /// The queues in the order of their turns.
    order: BTreeMap<u64, QueueId>,
    queues: BTreeMap<QueueId, QueueWaiters>,
}

/// The waiting consumers of one queue.
#[derive(Debug)]
struct QueueWaiters {
    /// The queue's place in the order.
    turn: u64,
    consumers: BTreeMap<(Reverse<i32>, u64), ConsumerId>,
}

/// A consumer's place among those that wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WaitingTicket {
    priority: i32,
    number: u64,
}

impl WaitingConsumers {
    pub(crate) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// Adds a consumer behind those of its priority. A queue that had none waiting goes to the end
    /// of the order.
    pub(crate) fn push(&mut self, queue: QueueId, consumer: ConsumerId, priority: i32) -> WaitingTicket {
        self.last += 1;
        let (number, order) = (self.last, &mut self.order);
        let waiting = self.queues.entry(queue).or_insert_with(|| {
            order.insert(number, queue);
            QueueWaiters { turn: number, consumers: BTreeMap::new() }
        });
        waiting.consumers.insert((Reverse(priority), number), consumer);
        WaitingTicket { priority, number }
    }

    /// Takes the consumer whose turn it is. If others of its queue wait, the queue goes to the end
    /// of the order.
    pub(crate) fn pop(&mut self) -> Option<ConsumerId> {
        let (_, queue) = self.order.pop_first()?;
        let waiting = self.queues.get_mut(&queue)?;
        let (_, consumer) = waiting.consumers.pop_first()?;
        if waiting.consumers.is_empty() {
            self.queues.remove(&queue);
        } else {
            self.last += 1;
            waiting.turn = self.last;
            self.order.insert(self.last, queue);
        }
        Some(consumer)
    }

    /// Removes a consumer that no longer waits.
    pub(crate) fn remove(&mut self, queue: QueueId, ticket: WaitingTicket) {
        let Some(waiting) = self.queues.get_mut(&queue) else { return };
        waiting.consumers.remove(&(Reverse(ticket.priority), ticket.number));
        if waiting.consumers.is_empty() {
            self.order.remove(&waiting.turn);
            self.queues.remove(&queue);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::collections::arena::Arena;

    struct Scene {
        queues: [QueueId; 3],
        consumers: [ConsumerId; 4],
    }

    fn scene() -> Scene {
        let (mut queues, mut consumers) = (Arena::<(), _>::default(), Arena::<(), _>::default());
        Scene {
            queues: std::array::from_fn(|_| queues.insert(())),
            consumers: std::array::from_fn(|_| consumers.insert(())),
        }
    }

    #[test]
    fn queues_take_turns_however_many_consumers_they_have() {
        let Scene { queues: [a, b, _], consumers: [first, second, third, other] } = scene();
        let mut waiting = WaitingConsumers::default();
        for consumer in [first, second, third] {
            waiting.push(a, consumer, 0);
        }
        waiting.push(b, other, 0);
        assert_eq!(std::array::from_fn(|_| waiting.pop()), [first, other, second, third].map(Some));
        assert!(waiting.pop().is_none() && waiting.is_empty() && waiting.queues.is_empty());
    }

    #[test]
    fn in_a_queue_the_highest_priority_is_first() {
        let Scene { queues: [a, b, _], consumers: [low, high, higher, other] } = scene();
        let mut waiting = WaitingConsumers::default();
        waiting.push(a, low, -1);
        waiting.push(b, other, 9);
        waiting.push(a, high, 1);
        waiting.push(a, higher, 2);
        assert_eq!(std::array::from_fn(|_| waiting.pop()), [higher, other, high, low].map(Some));
    }

    #[test]
    fn who_is_taken_away_leaves_nothing() {
        let Scene { queues: [a, b, c], consumers: [first, second, third, other] } = scene();
        let mut waiting = WaitingConsumers::default();
        let ticket = waiting.push(a, first, 0);
        waiting.push(b, second, 0);
        waiting.push(c, third, 0);
        let last = waiting.push(c, other, 0);
        waiting.remove(a, ticket);
        waiting.remove(a, ticket);
        waiting.remove(c, last);
        assert_eq!(std::array::from_fn(|_| waiting.pop()), [Some(second), Some(third), None]);
        assert!(waiting.queues.is_empty());
    }
}
