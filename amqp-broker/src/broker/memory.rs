//! The brokers behind `memory://NAME`.

use std::collections::HashMap;

use super::Broker;
use crate::sync::Mutex;

static BROKERS: Mutex<Option<HashMap<String, Broker>>> = Mutex::new(None);

/// The broker of this name in this process. It is created on the first call, with user `guest`,
/// password `guest` and virtual host `/`, and lives with all its contents until the process ends.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let stream = amqp_broker::memory("orders").connect();
/// # drop(stream);
/// # });
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn memory(name: &str) -> Broker {
    let mut brokers = BROKERS.lock();
    let brokers = brokers.get_or_insert_default();
    brokers.entry(name.to_owned()).or_insert_with(|| Broker::builder().build()).clone()
}
