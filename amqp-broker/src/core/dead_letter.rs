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

/// How much is done for dead letters in one operation: a letter counts as one, and once more for each KiB of what is written
/// on it. Who waits comes before the rest of them: a client could else, with a chain of queues that are full or where all
/// expires at once, have the broker busy for as long as it likes by one message.
const AT_ONCE: usize = 10_000;
/// How many may wait for that. Circles of exchanges with several full queues could else fill the memory by one message.
const MOST_WAITING: usize = 100_000;

impl Vhost {
    /// Publishes what died in the operation under way, and what dies of that; what is too much for one operation waits for
    /// the next, which is due at once.
    pub(super) fn bury(&mut self, now: u64, sink: &mut impl Sink) {
        let most_waiting = self.dead.len().max(MOST_WAITING);
        let mut left = AT_ONCE;
        let mut lost = 0;
        while left > 0
            && let Some(dead) = self.dead.pop_front()
        {
            // What cannot be read cannot be routed either: it is dropped as by a queue without such an exchange.
            let written = self.publish_dead(now, &dead, sink).unwrap_or(0);
            left = left.saturating_sub(1 + written / 1024);
            lost += self.dead.shorten(most_waiting);
        }
        if lost > 0 {
            tracing::warn!(
                vhost = self.name,
                lost,
                "messages died faster than their letters could be sent: dropped"
            );
        }
    }

    /// Tells how many octets of properties the letter has.
    fn publish_dead(&mut self, now: u64, dead: &Dead, sink: &mut impl Sink) -> Result<usize, Refusal> {
        let DeadLetter { exchange, key } = &dead.to;
        let source = match exchange.is_empty() {
            true => None,
            false => Some(self.exchange_id(exchange)?),
        };
        let death = Death {
            reason: dead.reason,
            queue: &dead.queue,
            time: (self.began + now) / 1000,
            exchange: exchange.as_bytes(),
            key: key.as_ref().map(ShortString::as_bytes),
        };
        let (mut draft, headers) = death.letter(&dead.message).map_err(Refusal::Syntax)?;
        let written = draft.parts().properties().len();
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
        Ok(written)
    }
}
