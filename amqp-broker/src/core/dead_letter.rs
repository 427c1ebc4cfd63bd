//! Messages that died go to their queue's dead-letter exchange.

use amqp_codec::ShortString;

use super::{
    arguments::DeadLetter,
    copies::Copies,
    death::{Death, Reason, is_cycle},
    graveyard::Dead,
    properties::{Relevant, is_persistent},
    publication::Publication,
    queue::Terms,
    refusal::Refusal,
    sink::Sink,
    vhost::Vhost,
};

/// How many messages may die of others' dead letters in one operation, such as in a chain of queues that are full. What is
/// beyond is dropped: a client could else have the broker busy for as long as it likes by one message.
const MOST_CHAINED: usize = 10_000;

impl Vhost {
    /// Publishes what died in the operation under way, and what dies of that.
    pub(super) fn bury(&mut self, now: u64, sink: &mut impl Sink) {
        let mut left = self.dead.len() + MOST_CHAINED;
        while let Some(dead) = self.dead.pop_front() {
            if left == 0 {
                self.dead.clear();
                break;
            }
            left -= 1;
            // What cannot be read cannot be routed either: it is dropped as by a queue without such an exchange.
            let _ = self.publish_dead(now, &dead, sink);
        }
    }

    fn publish_dead(&mut self, now: u64, dead: &Dead, sink: &mut impl Sink) -> Result<(), Refusal> {
        let Some(queue) = self.queues.get(dead.queue) else { return Ok(()) };
        let Some(DeadLetter { exchange, key }) = &queue.arguments.dead_letter else { return Ok(()) };
        let source = match exchange.is_empty() {
            true => None,
            false => Some(self.exchange_id(exchange)?),
        };
        let death = Death {
            reason: dead.reason,
            queue: &queue.name,
            time: (self.began + now) / 1000,
            exchange: exchange.as_bytes(),
            key: key.as_ref().map(ShortString::as_bytes),
        };
        let (mut draft, headers) = death.letter(&dead.message).map_err(Refusal::Syntax)?;
        let mut queues = Vec::new();
        let terms;
        {
            let parts = draft.parts();
            let relevant = Relevant::find(parts.properties()).map_err(Refusal::Syntax)?;
            terms = Terms { ttl: None, priority: relevant.priority.unwrap_or(0) };
            self.routing += 1;
            self.route_key(source, parts.names().1, &relevant, &mut queues)?;
            for key in parts.blind_keys() {
                self.route_key(source, key, &relevant, &mut queues)?;
            }
            let copies = Copies::read(&relevant)?;
            for key in copies.iter().flat_map(|copies| &copies.keys) {
                self.route_key(source, key.as_bytes(), &relevant, &mut queues)?;
            }
        }
        if dead.reason != Reason::Rejected {
            queues.retain(|id| self.queues.get(*id).is_some_and(|queue| !is_cycle(&headers, &queue.name)));
        }
        for channel in std::mem::take(&mut self.replying) {
            self.deliver_reply(channel, draft.parts(), sink);
        }
        let is_persistent = self.journal.is_kept() && is_persistent(draft.parts().properties());
        let mut publication = Publication { draft: &mut draft, stored: None, terms, is_persistent };
        for id in queues {
            self.enqueue(now, id, &mut publication, sink);
        }
        Ok(())
    }
}
