//! The embedded broker as its users run it: with certificates, and as a program under hostile
//! input.

use std::time::Duration;

mod interrupted;
mod isolation;
mod memory;
mod policies;
#[cfg(unix)]
mod reload;
mod returned_order;
mod tls;
mod users;

/// Waits for `future` with a deadline.
async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future).await.expect("nothing within the deadline")
}
