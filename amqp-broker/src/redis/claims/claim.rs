//! Messages for consumers.

use std::sync::Arc;

use amqp_codec::ShortString;
use bytes::Bytes;

use super::{
    haul::{MOST_MESSAGES, Taken, Wanted},
    moved::Move,
    moves::move_claims,
    returned::place_in_front,
    take,
};
use crate::{
    backend::{BackendError, Claimed, Source},
    core::rabbitmq::death::Reason,
    kombu::envelope::{Envelope, EnvelopeError},
    redis::{
        hub::{Hub, now_seconds},
        places::{aside, dead_letter, put},
    },
    shown::shown,
};

/// What settles a claimed message.
#[derive(Debug)]
pub struct RedisClaim {
    pub(super) queue: Arc<str>,
    pub(super) kept: Kept,
}

/// Where a claimed message is kept.
#[derive(Debug)]
pub(super) enum Kept {
    /// In Redis, under the tag of this number. The id is for the log.
    Claimed { number: u64, id: Option<ShortString> },
    /// Here: the message came from a fanout exchange, and Redis does not have it.
    Here(Bytes),
}

/// Takes messages from queues, for a link.
///
/// # Errors
/// When Redis fails. What may have been claimed is in [`Hub::held`].
pub(crate) async fn claim(
    hub: &Hub,
    link: u64,
    sources: &[Source<'_>],
) -> Result<Vec<Claimed<RedisClaim>>, BackendError> {
    let mut spare = 0;
    loop {
        let (claimed, left_out) = claim_once(hub, link, sources, spare).await?;
        // Whoever asks once for a message does not take it for an empty queue that the first
        // ones have expired. Consumers are woken again.
        let are_woken = || sources.iter().all(|source| hub.arrivals.watches.is_watched(source.queue, link));
        if !claimed.is_empty() || !left_out || spare >= MOST_MESSAGES && are_woken() {
            return Ok(claimed);
        }
        // Expired messages are seldom alone.
        spare = (2 * spare).clamp(1, MOST_MESSAGES);
    }
}

/// Takes messages, and so many to spare from each source, in case that the first have expired;
/// tells also whether some were taken that nobody gets.
async fn claim_once(
    hub: &Hub,
    link: u64,
    sources: &[Source<'_>],
    spare: usize,
) -> Result<(Vec<Claimed<RedisClaim>>, bool), BackendError> {
    let mut all_wanted = Vec::with_capacity(sources.len());
    for source in sources {
        let lifetime = renewed_lifetime(hub, link, source.queue).await?;
        all_wanted.push(wanted(hub, source, spare, lifetime));
    }
    let haul = take::take(hub, link, &all_wanted).await?;
    let mut claiming = Claiming::new(hub, link, sources);
    for taken in haul.taken {
        claiming.taken(taken);
    }
    for (index, source) in sources.iter().enumerate() {
        claiming.local(index, source);
    }
    claiming.next_wakes(haul.full);
    claiming.set_aside().await?;
    claiming.bury().await?;
    claiming.give_back().await?;
    let left_out = claiming.found.iter().sum::<usize>() > claiming.claimed.len();
    Ok((claiming.claimed, left_out))
}

/// Returns how long the lists of a queue live from now on. As in kombu, whoever asks once for a
/// message renews them, and a consumer does not.
async fn renewed_lifetime(hub: &Hub, link: u64, queue: &str) -> Result<Option<u64>, BackendError> {
    if hub.arrivals.watches.is_watched(queue, link) {
        return Ok(None);
    }
    Ok(hub.declared(queue).await?.and_then(|declared| declared.expires))
}

fn wanted(hub: &Hub, source: &Source<'_>, spare: usize, lifetime: Option<u64>) -> Wanted {
    Wanted {
        lists: hub.keys.lists(source.queue),
        most: source.most.saturating_add(spare).min(MOST_MESSAGES),
        // A message that may have to go back is claimed meanwhile.
        claimed: !source.no_ack || spare > 0,
        tail: Hub::claim_tail(source.queue),
        lifetime,
    }
}

/// A claim under way.
struct Claiming<'a> {
    hub: &'a Hub,
    link: u64,
    sources: &'a [Source<'a>],
    names: Vec<Arc<str>>,
    now: f64,
    claimed: Vec<Claimed<RedisClaim>>,
    /// How many messages each source got.
    counts: Vec<usize>,
    /// How many messages were taken for each source, whether it got them or not.
    found: Vec<usize>,
    undecodable: Vec<(Taken, EnvelopeError)>,
    expired: Vec<(usize, Option<u64>, Envelope)>,
    /// The numbers of messages that are settled as soon as they are delivered.
    settled: Vec<u64>,
    /// The numbers of messages that nobody wants, with their sources.
    spare: Vec<(u64, usize, Vec<u8>)>,
}

impl<'a> Claiming<'a> {
    fn new(hub: &'a Hub, link: u64, sources: &'a [Source<'a>]) -> Self {
        Claiming {
            hub,
            link,
            sources,
            names: sources.iter().map(|source| Arc::from(source.queue)).collect(),
            now: now_seconds(),
            claimed: Vec::new(),
            counts: vec![0; sources.len()],
            found: vec![0; sources.len()],
            undecodable: Vec::new(),
            expired: Vec::new(),
            settled: Vec::new(),
            spare: Vec::new(),
        }
    }

    /// A message that was taken from a list.
    fn taken(&mut self, taken: Taken) {
        self.found[taken.source] += 1;
        match self.hub.read_envelope(&taken.raw) {
            Err(error) => self.undecodable.push((taken, error)),
            Ok(envelope) if envelope.is_expired(self.now) => {
                self.expired.push((taken.source, taken.number, envelope));
            }
            Ok(envelope) => {
                let source = &self.sources[taken.source];
                let is_spare = self.counts[taken.source] >= source.most;
                if let Some(number) = taken.number.filter(|_| is_spare || source.no_ack) {
                    if is_spare {
                        return self.spare.push((number, taken.source, taken.raw));
                    }
                    self.settled.push(number);
                    return self.deliver(taken.source, envelope, false, None);
                }
                let properties = &envelope.message.properties;
                let id = properties.message_id.clone().or_else(|| properties.correlation_id.clone());
                let kept = taken.number.map(|number| Kept::Claimed { number, id });
                self.deliver(taken.source, envelope, false, kept);
            }
        }
    }

    /// Takes a source's messages of fanout exchanges, as far as it wants more.
    fn local(&mut self, index: usize, source: &Source<'_>) {
        let more = source.most.min(MOST_MESSAGES).saturating_sub(self.counts[index]);
        for buffered in self.hub.arrivals.fanouts.take(source.queue, more) {
            self.found[index] += 1;
            match self.hub.read_envelope(&buffered.raw) {
                Err(error) => {
                    self.hub.counts.add_undecodable(1);
                    tracing::warn!(
                        queue = shown(source.queue),
                        error = shown(error),
                        "dropped an undecodable message"
                    );
                }
                Ok(envelope) if envelope.is_expired(self.now) => {}
                Ok(envelope) => {
                    let kept = (!source.no_ack).then_some(Kept::Here(buffered.raw));
                    self.deliver(index, envelope, buffered.redelivered, kept);
                }
            }
        }
    }

    fn deliver(&mut self, source: usize, envelope: Envelope, redelivered: bool, kept: Option<Kept>) {
        self.counts[source] += 1;
        let queue = Arc::clone(&self.names[source]);
        self.claimed.push(Claimed {
            source,
            message: envelope.message,
            redelivered: redelivered || envelope.redelivered,
            claim: kept.map(|kept| RedisClaim { queue, kept }),
        });
    }

    /// Sees to it that each queue is woken that gave fewer messages than wanted.
    fn next_wakes(&self, full: bool) {
        let watches = &self.hub.arrivals.watches;
        for (index, source) in self.sources.iter().enumerate() {
            let limited =
                full || self.found[index] >= MOST_MESSAGES || self.found[index] > self.counts[index];
            match self.counts[index] < source.most {
                true if limited => watches.wake(source.queue),
                true => watches.arm(source.queue),
                false => {}
            }
        }
    }

    /// Puts what cannot be read where it harms nobody, as it is.
    async fn set_aside(&mut self) -> Result<(), BackendError> {
        let (mut moves, count) = (Vec::new(), self.undecodable.len());
        for (taken, error) in std::mem::take(&mut self.undecodable) {
            let queue = self.sources[taken.source].queue;
            let place = aside(self.hub, queue);
            tracing::warn!(
                queue = shown(queue),
                list = shown(&place.key),
                error = shown(error),
                "set an undecodable item aside"
            );
            match taken.number {
                Some(number) => {
                    let (tag, places) = (self.hub.tag(number), vec![place]);
                    moves.push((number, Move { tag, claim: None, places, raw: taken.raw }));
                }
                None => put(self.hub, &place, &taken.raw).await?,
            }
        }
        self.finish(moves).await?;
        self.hub.counts.add_undecodable(count);
        Ok(())
    }

    /// Drops what has expired, or sends it to the queue for dead messages.
    async fn bury(&mut self) -> Result<(), BackendError> {
        let mut moves = Vec::new();
        for (source, number, envelope) in std::mem::take(&mut self.expired) {
            let queue = self.sources[source].queue;
            let letter = dead_letter(self.hub, queue, envelope, Reason::Expired).await?;
            let Some(number) = number else {
                if let Some((place, raw)) = letter {
                    put(self.hub, &place, &raw).await?;
                }
                continue;
            };
            let mut moved = Move::drop(self.hub.tag(number));
            if let Some((place, raw)) = letter {
                moved = Move { places: vec![place], raw, ..moved };
            }
            moves.push((number, moved));
        }
        self.finish(moves).await
    }

    /// Returns what nobody wants to where it was, as it was, and settles what needs no settlement.
    async fn give_back(&mut self) -> Result<(), BackendError> {
        let mut moves = Vec::new();
        for number in std::mem::take(&mut self.settled) {
            moves.push((number, Move::drop(self.hub.tag(number))));
        }
        // The message that was taken last is put back first.
        for (number, source, raw) in std::mem::take(&mut self.spare).into_iter().rev() {
            let places = vec![place_in_front(self.hub, self.sources[source].queue, &raw).await?];
            moves.push((number, Move { places, raw, ..Move::drop(self.hub.tag(number)) }));
        }
        self.finish(moves).await
    }

    async fn finish(&self, moves: Vec<(u64, Move)>) -> Result<(), BackendError> {
        if moves.is_empty() {
            return Ok(());
        }
        let (numbers, moves): (Vec<_>, Vec<_>) = moves.into_iter().unzip();
        move_claims(self.hub, &moves).await?;
        self.hub.held.remove(self.link, numbers);
        Ok(())
    }
}
