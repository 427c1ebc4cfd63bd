//! Messages whose consumer is gone: their claims have lapsed, and they return to their queues.

use std::collections::HashSet;

use super::{
    lock::Lock,
    moved::Move,
    moves::move_claims,
    returned::{place_in_front, raw_claims},
    stale::drop_stale,
};
use crate::{
    backend::{BackendError, ExchangeKind},
    kombu::envelope::ClaimEntry,
    redis::{
        hub::{Hub, now_seconds},
        publish::exchange_kind,
    },
    shown::shown,
    sync::Mutex,
};

/// The most claims that are looked at in one round if the options do not say it.
const MOST_RESTORED: usize = 10_000;

/// The most claims that are looked at together.
const MOST_CLAIMS: usize = 100;

/// What is known of claims that go nowhere: each is logged once.
#[derive(Debug, Default)]
pub(crate) struct Unroutable {
    logged: Mutex<HashSet<String>>,
}

/// Returns messages to their queues whose claims are older than `visibility_timeout`, whoever made
/// them, at most so many; `None` when another has the lock.
///
/// # Errors
/// When Redis fails.
pub(crate) async fn restore_once(hub: &Hub, unroutable: &Unroutable) -> Result<Option<usize>, BackendError> {
    let Some(lock) = Lock::take(hub).await? else { return Ok(None) };
    let restored = restore(hub, unroutable, &lock).await;
    lock.release().await?;
    restored.map(Some)
}

async fn restore(hub: &Hub, unroutable: &Unroutable, lock: &Lock<'_>) -> Result<usize, BackendError> {
    let (mut restored, mut left) =
        (0, hub.options.unacked_restore_limit.map_or(MOST_RESTORED, |limit| limit as usize));
    let (mut skipped, lapsed) = (0, now_seconds() - hub.options.visibility_timeout.as_secs_f64());
    while left > 0 {
        let mut range = redis::cmd("ZRANGEBYSCORE");
        range.arg(hub.keys.unacked_index()).arg("-inf").arg(lapsed);
        range.arg("LIMIT").arg(skipped).arg(MOST_CLAIMS.min(left));
        let tags: Vec<String> = hub.command(&range).await?;
        // Whoever has taken the lock meanwhile goes on.
        if tags.is_empty() || !lock.renew().await? {
            break;
        }
        let moved = restore_tags(hub, unroutable, &tags).await?;
        // Those that stay are in the way of the next batch.
        skipped += tags.len() - moved;
        left = left.saturating_sub(tags.len());
        restored += moved;
    }
    if restored > 0 {
        tracing::info!(restored, "returned messages to their queues: nobody settled them in time");
    }
    Ok(restored)
}

/// Restores claims; returns how many are gone from the index.
async fn restore_tags(hub: &Hub, unroutable: &Unroutable, tags: &[String]) -> Result<usize, BackendError> {
    let raw = raw_claims(hub, tags).await?;
    let (mut moves, mut stale) = (Vec::new(), Vec::new());
    // What was claimed first is pushed last, so that it is the next one.
    for (tag, raw) in tags.iter().zip(raw).rev() {
        let Some(raw) = raw else {
            stale.push(tag);
            continue;
        };
        match restoring(hub, tag, &raw).await? {
            Some(moved) => moves.push(Move { claim: Some(raw), ..moved }),
            None => unroutable.log(tag),
        }
    }
    if !stale.is_empty() {
        drop_stale(hub, &stale).await?;
    }
    let moved = move_claims(hub, &moves).await?;
    Ok(stale.len() + moved.len())
}

/// Where a lapsed claim goes; `None` when nobody can tell.
async fn restoring(hub: &Hub, tag: &str, raw: &[u8]) -> Result<Option<Move>, BackendError> {
    let Some(claim) = Hub::read_claim(raw) else { return Ok(None) };
    let Some(raw) = Hub::redelivered(claim.envelope) else { return Ok(None) };
    let mut places = Vec::new();
    for queue in queues(hub, &claim).await? {
        places.push(place_in_front(hub, &queue, claim.envelope).await?);
    }
    Ok((!places.is_empty()).then(|| Move { tag: tag.to_owned(), claim: None, places, raw }))
}

/// The queues of a claim: a gateway names the one that the message came from, and kombu the
/// exchange and routing key that it was published with.
async fn queues(hub: &Hub, claim: &ClaimEntry<'_>) -> Result<Vec<String>, BackendError> {
    if claim.exchange.is_empty() {
        return Ok(vec![claim.routing_key.clone()]);
    }
    let members = hub.bindings(&claim.exchange).await?;
    let kind = match exchange_kind(hub, &claim.exchange).await? {
        None | Some(ExchangeKind::Fanout) => return Ok(Vec::new()),
        Some(kind) => kind,
    };
    let queues = members.route(kind, &claim.routing_key);
    if !queues.is_empty() {
        return Ok(queues.into_iter().map(str::to_owned).collect());
    }
    let named = members.iter().any(|member| member.queue == claim.routing_key);
    Ok(if named { vec![claim.routing_key.clone()] } else { Vec::new() })
}

impl Unroutable {
    fn log(&self, tag: &str) {
        let mut logged = self.logged.lock();
        if logged.len() >= 10_000 {
            logged.clear();
        }
        if logged.insert(tag.to_owned()) {
            tracing::warn!(tag = shown(tag), "a claimed message has no queue to return to: it stays claimed");
        }
    }
}
