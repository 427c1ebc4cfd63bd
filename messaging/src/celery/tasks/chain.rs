//! Tasks that run one after the other.

use crate::{
    celery::tasks::{async_result::AsyncResult, send::Envelope, signature::Signature},
    error::Error,
};

/// Tasks that run one after the other, each with the result of the one before as its first
/// argument, unless it is [`immutable`](Signature::immutable). When one fails, those after it do
/// not run.
///
/// Each worker sends the next task; it may be one of Python.
#[derive(Clone, Debug)]
#[must_use = "a chain is sent by `send`"]
pub struct Chain {
    first: Signature,
    rest: Vec<Signature>,
}

impl Chain {
    /// Begins a chain.
    pub fn new(first: Signature) -> Self {
        Chain { first, rest: Vec::new() }
    }

    /// Adds a task.
    pub fn then(mut self, next: Signature) -> Self {
        self.rest.push(next);
        self
    }

    /// Sends its first task, and returns what waits for the result of the last one. When an earlier
    /// one fails, that result never comes.
    ///
    /// # Errors
    /// As [`Signature::send`].
    pub async fn send<T>(&self) -> Result<AsyncResult<T>, Error> {
        let mut envelope = Envelope::new(self.first.sent_id());
        let Some(last) = self.rest.last() else { return self.first.dispatch(envelope).await };
        // The next one is the last of the list, from which workers take it.
        for task in self.rest.iter().rev() {
            let id = task.sent_id();
            envelope.chain.push(task.embedded(Some(&id))?);
            envelope.last.get_or_insert_with(|| Box::new((id, last.ignores_result)));
        }
        self.first.dispatch(envelope).await
    }
}
