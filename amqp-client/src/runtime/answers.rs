//! Waiting for the broker's answers while a connection is restored.

use std::{pin::pin, time::Duration};

use tokio::time::timeout;

use crate::{
    error::{Error, Result},
    proto::{
        calls::{CallId, Reply},
        connection::ChannelKey,
    },
    runtime::{shared::Shared, waiting::Answer},
};

#[derive(Clone, Copy)]
pub(crate) struct Answers<'a> {
    pub(crate) shared: &'a Shared,
    /// How long the broker may take for each answer.
    pub(crate) patience: Duration,
}

impl<'a> Answers<'a> {
    /// Makes the answer to wait for; dropping it abandons the call.
    pub(crate) fn due(self, key: ChannelKey, call: CallId) -> Answer<'a> {
        Answer::new(self.shared, Some(key), call)
    }

    /// Waits for an answer.
    ///
    /// # Errors
    /// The error of the call; [`Error::CallTimeout`] when the broker takes too long.
    pub(crate) async fn wait(self, waiting: Answer<'_>) -> Result<Reply> {
        let mut waiting = pin!(waiting);
        loop {
            if let Ok(answer) = timeout(self.patience, waiting.as_mut()).await {
                return answer;
            }
            // While this side does not read, the answer may have arrived, so the deadline starts
            // over.
            if !self.shared.with(|engine| engine.has_paused_reading()) {
                return Err(Error::CallTimeout {
                    method: "the methods that restore the connection",
                    after: self.patience,
                });
            }
        }
    }

    /// Waits for all answers.
    ///
    /// # Errors
    /// The first error among them.
    pub(crate) async fn wait_for_all(self, waiting: Vec<Answer<'_>>) -> Result<()> {
        for waiting in waiting {
            self.wait(waiting).await?;
        }
        Ok(())
    }
}
