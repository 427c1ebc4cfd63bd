//! Taking messages from lists.

use redis::Value;

use super::{
    haul::{Haul, Taken, Wanted},
    transaction,
};
use crate::{
    backend::BackendError,
    redis::{
        connect::claim_script,
        hub::{Hub, now_seconds},
    },
};

/// The number of bytes after which a claim takes no further message.
const MOST_BYTES: usize = 1 << 20;

/// Takes messages and claims them, so that at no moment one is in neither its list nor the claims.
///
/// # Errors
/// When Redis fails. The link then holds what it may have claimed, in [`Hub::held`].
pub(crate) async fn take(hub: &Hub, link: u64, wanted: &[Wanted]) -> Result<Haul, BackendError> {
    let claims: usize = wanted.iter().filter(|wanted| wanted.claimed).map(|wanted| wanted.most).sum();
    let claims = u64::try_from(claims).unwrap_or(u64::MAX);
    let first = hub.claim_numbers(claims);
    hub.held.begin(link, first..first.saturating_add(claims));
    let haul = if hub.scripting() { by_script(hub, first, wanted).await? } else { None };
    let haul = match haul {
        Some(haul) => haul,
        None => transaction::take(hub, first, wanted, MOST_BYTES).await?,
    };
    hub.held.finish(link, haul.taken.iter().filter_map(|taken| taken.number));
    Ok(haul)
}

/// `None` when scripts are forbidden.
async fn by_script(hub: &Hub, first: u64, wanted: &[Wanted]) -> Result<Option<Haul>, BackendError> {
    let mut script = claim_script().prepare_invoke();
    script.key(hub.keys.unacked()).key(hub.keys.unacked_index());
    let lists = wanted.first().map_or(0, |wanted| wanted.lists.len());
    script.arg(now_seconds()).arg(hub.tag_prefix()).arg(first).arg(MOST_BYTES).arg(lists);
    for wanted in wanted {
        script.key(&wanted.lists).arg(wanted.most).arg(u8::from(wanted.claimed)).arg(&wanted.tail);
        script.arg(wanted.lifetime.unwrap_or_default());
    }
    let answer = script.invoke_async::<Value>(&mut hub.commands()).await;
    if hub.no_scripting(&answer) {
        return Ok(None);
    }
    let answer = hub.checked(answer)?;
    haul(answer)
        .map(Some)
        .ok_or_else(|| BackendError::Unavailable("Redis answers a script unexpectedly".to_owned()))
}

/// Reads the script's answer.
fn haul(answer: Value) -> Option<Haul> {
    let Value::Array(parts) = answer else { return None };
    let [Value::Int(full), Value::Array(taken)] = <[Value; 2]>::try_from(parts).ok()? else { return None };
    let taken = taken.into_iter().map(self::taken).collect::<Option<Vec<_>>>()?;
    Some(Haul { taken, full: full == 1 })
}

fn taken(value: Value) -> Option<Taken> {
    let Value::Array(parts) = value else { return None };
    let [Value::Int(source), Value::Int(number), Value::BulkString(raw)] =
        <[Value; 3]>::try_from(parts).ok()?
    else {
        return None;
    };
    Some(Taken { source: usize::try_from(source).ok()?, number: u64::try_from(number).ok(), raw })
}
