//! Exchanges that kombu has bound queues to, and that nobody may have declared here.

use std::collections::BTreeSet;

use crate::{backend::BackendError, redis::hub::Hub};

/// The number of keys that Redis looks at for one answer.
const SCANNED: u32 = 1000;

/// All exchanges that have bindings. Redis looks at all its keys for that.
///
/// # Errors
/// When Redis fails.
pub(super) async fn bound_exchanges(hub: &Hub) -> Result<BTreeSet<String>, BackendError> {
    let prefix = hub.keys.bindings("");
    let pattern = [&literal(&prefix), "*"].concat();
    let (mut exchanges, mut cursor) = (BTreeSet::new(), 0_u64);
    loop {
        let mut scan = redis::cmd("SCAN");
        scan.arg(cursor).arg("MATCH").arg(&pattern).arg("COUNT").arg(SCANNED).arg("TYPE").arg("set");
        let (next, keys): (u64, Vec<Vec<u8>>) = hub.command(&scan).await?;
        let names = keys.into_iter().filter_map(|key| String::from_utf8(key).ok());
        exchanges.extend(names.filter_map(|key| key.strip_prefix(&prefix).map(str::to_owned)));
        if next == 0 {
            return Ok(exchanges);
        }
        cursor = next;
    }
}

/// A pattern of Redis that matches a text alone.
fn literal(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len());
    for character in text.chars() {
        if matches!(character, '*' | '?' | '[' | ']' | '^' | '-' | '\\') {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern
}
