//! Waiting for the broker's answers while a connection is restored.

use std::time::Duration;

use tokio::time::timeout;

use crate::{
    error::{Error, Result},
    proto::{
        calls::{CallId, Reply},
        connection::ChannelKey,
    },
    shared::{Shared, Waiting},
};

#[derive(Clone, Copy)]
pub(crate) struct Answers<'a> {
    pub(crate) shared: &'a Shared,
    /// How long the broker may take for each.
    pub(crate) patience: Duration,
}

impl<'a> Answers<'a> {
    /// One to wait for, which is abandoned when it is dropped.
    pub(crate) fn due(self, key: ChannelKey, call: CallId) -> Waiting<'a> {
        Waiting::new(self.shared, key, call)
    }

    /// # Errors
    /// What the call failed with; [`Error::CallTimeout`] when the broker takes too long.
    pub(crate) async fn wait(self, waiting: Waiting<'_>) -> Result<Reply> {
        let late = Error::CallTimeout { method: "what restores the connection", after: self.patience };
        timeout(self.patience, waiting).await.unwrap_or(Err(late))
    }

    /// # Errors
    /// The first of theirs.
    pub(crate) async fn wait_for_all(self, waiting: Vec<Waiting<'_>>) -> Result<()> {
        for waiting in waiting {
            self.wait(waiting).await?;
        }
        Ok(())
    }
}
