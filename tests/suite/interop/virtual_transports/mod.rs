//! kombu's virtual transports: what Python writes is read here, and the reverse.

mod aliases;
mod connections;
mod filesystem;
mod owners;
mod program;
mod python;
mod redis;
mod tasks;

use std::time::Duration;

use tokio::time::timeout;

async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(60), future).await.expect("nothing within the deadline")
}
