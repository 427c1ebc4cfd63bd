//! Sends a task.

use crate::{
    celery::tasks::{
        async_result::AsyncResult,
        message::{Envelope, TaskMessage},
        signature::Signature,
    },
    error::Error,
};

impl Signature {
    /// Sends it, and returns what waits for its result. The queue is declared if it is not there,
    /// unless [`declare`](Self::declare) says otherwise.
    ///
    /// # Errors
    /// Arguments that have no JSON form; those of [`Producer::ensure_publish`], after its retries.
    ///
    /// # Cancel safety
    /// It may have been sent.
    ///
    /// [`Producer::ensure_publish`]: crate::Producer::ensure_publish
    pub async fn send<T>(&self) -> Result<AsyncResult<T>, Error> {
        self.dispatch(Envelope::new(self.sent_id())).await
    }

    pub(super) async fn dispatch<T>(&self, envelope: Envelope) -> Result<AsyncResult<T>, Error> {
        let waiting = match envelope.last.as_deref() {
            // The result that counts is that of the last task of a chain.
            Some((last, is_ignored)) => self.app.expect(last, *is_ignored).await?,
            None => self.app.expect(&envelope.id, self.ignores_result).await?,
        };
        let TaskMessage { options, body } = TaskMessage::new(self, &envelope)?;
        self.app.publish(self.queue_name(), &options, &body).await?;
        let id = envelope.last.map_or(envelope.id, |last| last.0);
        Ok(AsyncResult::new(self.app.clone(), id, waiting))
    }
}
