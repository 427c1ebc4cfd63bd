//! Settling claimed messages.

use std::sync::Arc;

use amqp_codec::ShortString;
use redis::Value;

use super::{
    claim::{Kept, RedisClaim},
    moved::Move,
    moves::move_claims,
    returned::{self, raw_claims},
};
use crate::{
    backend::{BackendError, Settlement},
    core::rabbitmq::death::Reason,
    redis::{hub::Hub, places::dead_letter},
    shown::shown,
};

/// The most messages that are acknowledged by one transaction.
const MOST_ACKS: usize = 500;

/// A claim in Redis.
struct Settled {
    queue: Arc<str>,
    number: u64,
    id: Option<ShortString>,
}

/// Settles claims of a link; returns how many of them others had returned to their queues.
///
/// # Errors
/// When Redis fails. The claims that may not be settled remain in [`Hub::held`].
pub(crate) async fn settle(
    hub: &Hub,
    link: u64,
    claims: Vec<(RedisClaim, Settlement)>,
) -> Result<usize, BackendError> {
    let (mut acks, mut rejects, mut requeues, mut here) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (RedisClaim { queue, kept }, settlement) in claims {
        match (kept, settlement) {
            (Kept::Claimed { number, id }, settlement) => {
                let to = match settlement {
                    Settlement::Ack => &mut acks,
                    Settlement::Reject => &mut rejects,
                    Settlement::Requeue => &mut requeues,
                };
                to.push(Settled { queue, number, id });
            }
            (Kept::Here(raw), Settlement::Requeue) => here.push((queue, raw)),
            (Kept::Here(_), _) => {}
        }
    }
    for (queue, raw) in here {
        hub.arrivals.fanouts.put_back(&queue, raw);
        hub.arrivals.watches.wake(&queue);
    }
    let mut missing = 0;
    for rejects in by_queue(rejects) {
        missing += reject(hub, link, rejects, &mut acks).await?;
    }
    for acks in acks.chunks(MOST_ACKS) {
        missing += acknowledge(hub, link, acks).await?;
    }
    Ok(missing + requeue(hub, link, &requeues).await?)
}

/// Acknowledges messages.
async fn acknowledge(hub: &Hub, link: u64, acks: &[Settled]) -> Result<usize, BackendError> {
    let unacked = hub.keys.unacked();
    let mut pipeline = redis::pipe();
    pipeline.atomic();
    let mut index = redis::cmd("ZREM");
    index.arg(hub.keys.unacked_index());
    for ack in acks {
        let tag = hub.tag(ack.number);
        index.arg(&tag);
        pipeline.cmd("HDEL").arg(&unacked).arg(tag);
    }
    pipeline.add_command(index);
    let deleted: Vec<Value> = hub.pipeline(&pipeline).await?;
    Ok(settled(hub, link, acks, deleted.iter().map(|deleted| *deleted != Value::Int(0))))
}

/// Returns messages to the front of their queues. They come in the reverse order of their
/// deliveries.
async fn requeue(hub: &Hub, link: u64, requeues: &[Settled]) -> Result<usize, BackendError> {
    if requeues.is_empty() {
        return Ok(0);
    }
    let tags: Vec<_> = requeues.iter().rev().map(|requeue| hub.tag(requeue.number)).collect();
    let returned = returned::return_tags(hub, &tags).await?;
    Ok(settled(hub, link, requeues, returned.into_iter().rev()))
}

/// Sends messages of one queue to the queue for its dead messages, or adds them to what is to be
/// acknowledged if there is none.
async fn reject(
    hub: &Hub,
    link: u64,
    rejects: Vec<Settled>,
    acks: &mut Vec<Settled>,
) -> Result<usize, BackendError> {
    let Some(first) = rejects.first() else { return Ok(0) };
    let declared = hub.declared(&first.queue).await?;
    if declared.is_none_or(|declared| declared.dead_letter_queue.is_none()) {
        acks.extend(rejects);
        return Ok(0);
    }
    let tags: Vec<_> = rejects.iter().map(|reject| hub.tag(reject.number)).collect();
    let raw = raw_claims(hub, &tags).await?;
    let mut moves = Vec::new();
    for ((reject, tag), raw) in rejects.iter().zip(tags).zip(raw) {
        let mut moved = Move::drop(tag);
        let envelope = raw.and_then(|raw| Some(hub.read_envelope(Hub::read_claim(&raw)?.envelope)));
        if let Some(Ok(envelope)) = envelope
            && let Some((place, raw)) = dead_letter(hub, &reject.queue, envelope, Reason::Rejected).await?
        {
            moved = Move { places: vec![place], raw, ..moved };
        }
        moves.push(moved);
    }
    let moved = move_claims(hub, &moves).await?;
    Ok(settled(hub, link, &rejects, moved.into_iter()))
}

/// Forgets settled claims; returns how many others had returned.
fn settled(hub: &Hub, link: u64, settled: &[Settled], held: impl Iterator<Item = bool>) -> usize {
    hub.held.remove(link, settled.iter().map(|settled| settled.number));
    let missing = settled.iter().zip(held).filter(|(_, held)| !held);
    let missing = missing
        .map(|(settled, _)| {
            let id = settled.id.as_ref().and_then(|id| id.as_str().ok());
            tracing::warn!(
                queue = shown(&settled.queue),
                message_id = id.map(shown),
                "another had returned a message to its queue before it was settled"
            );
        })
        .count();
    hub.counts.add_settled_too_late(missing);
    missing
}

/// Groups claims by their queue, in their order.
fn by_queue(rejects: Vec<Settled>) -> Vec<Vec<Settled>> {
    let mut queues: Vec<Vec<Settled>> = Vec::new();
    for reject in rejects {
        match queues.iter_mut().find(|queue| queue.first().is_some_and(|first| first.queue == reject.queue)) {
            Some(queue) => queue.push(reject),
            None => queues.push(vec![reject]),
        }
    }
    queues
}
