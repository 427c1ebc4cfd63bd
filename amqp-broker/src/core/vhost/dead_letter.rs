//! Publishes dead messages to their queue's dead-letter exchange.

use amqp_codec::ShortString;

use super::Vhost;
use crate::{
    core::{
        content::{
            message::{LetterMark, Origin},
            properties::{Relevant, is_persistent},
        },
        effects::sink::Sink,
        entities::{dead_letters::DeadMessage, queue::MessageTerms},
        rabbitmq::{
            arguments::DeadLetterTarget,
            copies::Copies,
            death::{Death, Reason, passed},
            refusal::Refusal,
        },
        work::{publishing::Publishing, routing::Found},
    },
    shown::shown,
};

/// The pause between two log lines about dropped dead letters, in milliseconds.
const TOLD_EVERY: u64 = 1000;

impl Vhost {
    /// Publishes dead letters, and those that they cause, as far as the turn allows; the rest
    /// follows in later turns.
    pub(super) fn publish_dead_letters(&mut self, now: u64, sink: &mut impl Sink) {
        while !self.budget.is_over() {
            let under_way = self.letter.take();
            let Some(mut letter) = under_way.or_else(|| self.next_letter(now)) else { break };
            // A dead letter that cannot be routed is dropped, as if its queue had no dead-letter
            // exchange.
            let around = self.messages.journal.groups.enter(letter.kept);
            if matches!(self.proceed_letter(now, &mut letter, sink), Ok(false)) {
                self.letter = Some(letter);
            }
            self.messages.journal.groups.enter(around);
        }
        if self.has_lost() {
            self.tell_lost(now);
        }
    }

    /// Tells whether dead letters or replies were dropped that have not been logged.
    #[inline]
    pub(super) fn has_lost(&self) -> bool {
        self.dead_letters.has_lost() || !self.lost_replies.are_none()
    }

    /// Tells whether any dead letter waits to be published.
    pub(super) fn has_letters(&self) -> bool {
        self.letter.is_some() || !self.dead_letters.is_empty()
    }

    /// The dead letter of the message that died first.
    fn next_letter(&mut self, now: u64) -> Option<Box<Publishing>> {
        while let Some(dead) = self.dead_letters.pop_front() {
            // Headers are read, rewritten and routed by, which takes about two microseconds.
            self.budget.spend(20);
            match self.letter(now, &dead) {
                Ok(letter) => return Some(Box::new(letter)),
                Err(why) => {
                    let (vhost, queue) = (&self.name, &dead.queue);
                    tracing::debug!(
                        vhost = shown(vhost),
                        queue = shown(queue),
                        why = shown(why),
                        "a dead letter is dropped"
                    );
                }
            }
            if self.budget.is_over() {
                break;
            }
        }
        None
    }

    fn letter(&mut self, now: u64, dead: &DeadMessage) -> Result<Publishing, Refusal> {
        let Some(reason) = dead.reason else { return self.traced_letter(dead) };
        let DeadLetterTarget { exchange, key } = &dead.to;
        // The empty exchange name is the default exchange.
        let source = match exchange.is_empty() {
            true => None,
            false => Some(self.exchange_id(exchange)?),
        };
        let death = Death {
            reason,
            queue: &dead.queue,
            time: (self.began + now) / 1000,
            exchange: exchange.as_bytes(),
            key: key.as_ref().map(ShortString::as_bytes),
        };
        // The message gets its `x-death` headers, and routing keys as the queue demands.
        let made = match self.profile.deaths_are_recorded {
            true => death.recorded_letter(&dead.message),
            false => death.letter(&dead.message),
        };
        let (draft, headers) = made.map_err(Refusal::Syntax)?;
        let parts = draft.parts();
        self.budget.spend_octets(4 * parts.header.len());
        let relevant = Relevant::find(parts.properties()).map_err(Refusal::Syntax)?;
        let terms = MessageTerms { ttl: None, priority: relevant.priority.unwrap_or(0) };
        let mut keys = match parts.mark() {
            Some(LetterMark::OneKey) => Vec::new(),
            _ => Copies::read(&relevant)?.map(|copies| copies.keys).unwrap_or_default(),
        };
        for key in parts.blind_keys() {
            keys.extend(ShortString::from_bytes("BCC", bytes::Bytes::copy_from_slice(key)));
        }
        // Unless it was rejected, it must not return to a queue where it died before.
        let not_to = if reason == Reason::Rejected { Default::default() } else { passed(&headers) };
        let is_persistent = self.messages.journal.is_kept() && is_persistent(parts.properties());
        let routing = Some(Box::new(self.begin_routing(source, Found::default())));
        let origin = dead.origin.clone();
        let letter = Publishing {
            source,
            terms,
            keys,
            not_to,
            is_persistent,
            routing,
            origin,
            kept: dead.kept,
            ..Publishing::default()
        };
        Ok(Publishing { draft, is_letter: true, ..letter })
    }

    fn proceed_letter(
        &mut self,
        now: u64,
        letter: &mut Publishing,
        sink: &mut impl Sink,
    ) -> Result<bool, Refusal> {
        let was_found = letter.routing.is_none();
        if !self.proceed_routing(letter)? {
            return Ok(false);
        }
        if !was_found && letter.origin.is_none() {
            // The dead letter may cause others where it can die again.
            let may_die = |id: &crate::core::entities::ids::QueueId| {
                self.queues.get(*id).is_some_and(|queue| queue.arguments.dead_letter.is_some())
            };
            letter.origin = letter.found.queues.iter().any(may_die).then(Origin::default);
        }
        Ok(self.put_rest(now, letter, sink))
    }

    /// When dropped dead letters or replies may be logged again.
    pub(super) fn lost_due(&self) -> u64 {
        if self.lost_told_at == 0 { 0 } else { self.lost_told_at.saturating_add(TOLD_EVERY) }
    }

    /// Logs dropped dead letters or replies, limited to one line in a while.
    #[cold]
    pub(super) fn tell_lost(&mut self, now: u64) {
        if now < self.lost_due() {
            return;
        }
        self.lost_told_at = now.max(1);
        if let Some(lost) = self.dead_letters.take_lost() {
            tracing::warn!(
                vhost = shown(&self.name),
                dropped = lost.count,
                queue = shown(&lost.queue),
                exchange = shown(&lost.exchange),
                "dead letters over the limit of one publish, or of memory, are dropped"
            );
        }
        self.tell_lost_replies();
    }
}
