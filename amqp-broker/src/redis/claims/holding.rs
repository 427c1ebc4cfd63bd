//! Keeping claims while their messages are processed.

use crate::{
    backend::BackendError,
    redis::hub::{Hub, now_seconds},
};

/// The most claims that are renewed by one command.
const MOST_RENEWED: usize = 500;

/// Renews all claims of a hub's links, so that nobody restores their messages.
///
/// # Errors
/// When Redis fails.
pub(crate) async fn renew_claims(hub: &Hub) -> Result<(), BackendError> {
    for numbers in hub.held.all().chunks(MOST_RENEWED) {
        let (mut command, now) = (redis::cmd("ZADD"), now_seconds());
        command.arg(hub.keys.unacked_index()).arg("XX");
        for number in numbers {
            command.arg(now).arg(hub.tag(*number));
        }
        hub.command::<()>(&command).await?;
    }
    Ok(())
}
