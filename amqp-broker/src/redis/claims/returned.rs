//! Returning claimed messages to their queues.

use super::{moved::Move, moves::move_claims};
use crate::{
    backend::BackendError,
    kombu::envelope::wire_priority,
    redis::{
        hub::Hub,
        places::{Expiry, How, Place, aside},
    },
    shown::shown,
};

/// The most claims that are read at once.
const MOST_READ: usize = 100;

/// Returns messages of this hub, or of one before it, to the front of their queues, so that the
/// first is the next one again.
///
/// # Errors
/// When Redis fails. Some may have been returned; they can be returned again.
pub(crate) async fn return_claims(hub: &Hub, tags: &[String]) -> Result<(), BackendError> {
    return_tags(hub, tags).await.map(|_| ())
}

/// As [`return_claims`]; returns for each whether it was still claimed.
pub(super) async fn return_tags(hub: &Hub, tags: &[String]) -> Result<Vec<bool>, BackendError> {
    let mut returned = vec![false; tags.len()];
    // What is pushed last is taken first.
    let chunks: Vec<_> = (0..tags.len()).step_by(MOST_READ).rev().collect();
    for start in chunks {
        let end = tags.len().min(start + MOST_READ);
        let raw = raw_claims(hub, &tags[start..end]).await?;
        let (mut moves, mut places) = (Vec::new(), Vec::new());
        for (place, raw) in (start..end).zip(raw).rev() {
            if let Some(raw) = raw {
                moves.push(returning(hub, &tags[place], raw).await?);
                places.push(place);
            }
        }
        for (place, moved) in places.into_iter().zip(move_claims(hub, &moves).await?) {
            returned[place] = moved;
        }
    }
    Ok(returned)
}

/// How a claim of a gateway returns to its queue. What cannot be read is set aside.
async fn returning(hub: &Hub, tag: &str, raw: Vec<u8>) -> Result<Move, BackendError> {
    let moved = Move::drop(tag.to_owned());
    let front = match Hub::read_claim(&raw) {
        Some(claim) => front(hub, &claim.routing_key, claim.envelope).await?,
        None => None,
    };
    match front {
        Some((place, raw)) => Ok(Move { places: vec![place], raw, ..moved }),
        None => Ok(set_aside(hub, moved, raw)),
    }
}

/// The place in front of a queue for a claimed message, and the message marked as redelivered.
async fn front(hub: &Hub, queue: &str, envelope: &[u8]) -> Result<Option<(Place, Vec<u8>)>, BackendError> {
    let Some(raw) = Hub::redelivered(envelope) else { return Ok(None) };
    Ok(Some((place_in_front(hub, queue, envelope).await?, raw)))
}

/// The place in front of a queue for an envelope that came from there.
pub(super) async fn place_in_front(hub: &Hub, queue: &str, envelope: &[u8]) -> Result<Place, BackendError> {
    let declared = hub.declared(queue).await?;
    let key = hub.keys.list(queue, wire_priority(envelope));
    let how = How::Front(Expiry::new(hub, queue, &key, declared.as_deref()));
    Ok(Place { key, how, lifetime: None, deleted: false })
}

fn set_aside(hub: &Hub, moved: Move, raw: Vec<u8>) -> Move {
    let place = aside(hub, "unacked");
    tracing::warn!(tag = shown(&moved.tag), list = shown(&place.key), "set an undecodable claim aside");
    hub.counts.add_undecodable(1);
    Move { places: vec![place], raw, ..moved }
}

/// Reads claims; `None` for those that are there no more.
pub(super) async fn raw_claims(hub: &Hub, tags: &[String]) -> Result<Vec<Option<Vec<u8>>>, BackendError> {
    if tags.is_empty() {
        return Ok(Vec::new());
    }
    hub.command(redis::cmd("HMGET").arg(hub.keys.unacked()).arg(tags)).await
}
