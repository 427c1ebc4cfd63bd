//! Moving claimed messages elsewhere.

use redis::RedisResult;

use super::{moved::Move, transaction};
use crate::{
    backend::BackendError,
    redis::{connect::move_script, hub::Hub},
};

/// The most messages that are moved by one script.
const MOST_MOVES: usize = 200;

/// Moves claimed messages; returns for each whether it was still claimed.
///
/// # Errors
/// When Redis fails. Some may have been moved.
pub(crate) async fn move_claims(hub: &Hub, moves: &[Move]) -> Result<Vec<bool>, BackendError> {
    let mut moved = Vec::with_capacity(moves.len());
    for moves in moves.chunks(MOST_MOVES) {
        let by_script = if hub.scripting() { by_script(hub, moves).await? } else { None };
        match by_script {
            Some(by_script) => moved.extend(by_script),
            None => moved.extend(by_transactions(hub, moves).await?),
        }
    }
    Ok(moved)
}

/// `None` when scripts are forbidden.
async fn by_script(hub: &Hub, moves: &[Move]) -> Result<Option<Vec<bool>>, BackendError> {
    let mut script = move_script().prepare_invoke();
    script.key(hub.keys.unacked()).key(hub.keys.unacked_index());
    for moved in moves {
        script.arg(&moved.tag).arg(moved.claim.as_deref().unwrap_or_default()).arg(&moved.raw);
        script.arg(moved.places.len());
        moved.places.iter().for_each(|place| place.add_to(&mut script));
    }
    let answer: RedisResult<Vec<i64>> = script.invoke_async(&mut hub.commands()).await;
    if hub.no_scripting(&answer) {
        return Ok(None);
    }
    let answer = hub.checked(answer)?;
    Ok(Some(answer.into_iter().map(|moved| moved == 1).collect()))
}

async fn by_transactions(hub: &Hub, moves: &[Move]) -> Result<Vec<bool>, BackendError> {
    let mut spare = hub.transaction_connection().await?;
    let mut moved = Vec::with_capacity(moves.len());
    for one in moves {
        moved.push(transaction::move_claim(hub, &mut spare.connection, one).await?);
    }
    hub.put_back(spare);
    Ok(moved)
}
