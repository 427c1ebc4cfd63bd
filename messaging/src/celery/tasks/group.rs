//! Tasks that run side by side.

use std::time::Duration;

use serde::de::DeserializeOwned;
use tokio::time::Instant;
use uuid::Uuid;

use crate::{
    celery::tasks::{async_result::AsyncResult, send::Envelope, signature::Signature, state::TaskError},
    error::Error,
};

/// Tasks that run side by side.
#[derive(Clone, Debug, Default)]
#[must_use = "a group is sent by `send`"]
pub struct Group(Vec<Signature>);

impl Group {
    /// Makes a group of these tasks.
    pub fn new(tasks: impl IntoIterator<Item = Signature>) -> Self {
        Group(tasks.into_iter().collect())
    }

    /// Adds a task.
    pub fn and(mut self, task: Signature) -> Self {
        self.0.push(task);
        self
    }

    /// Sends all tasks, in their order.
    ///
    /// # Errors
    /// As [`Signature::send`]; earlier tasks have been sent then.
    pub async fn send<T>(&self) -> Result<GroupResult<T>, Error> {
        let id = Uuid::new_v4().to_string();
        let mut results = Vec::with_capacity(self.0.len());
        for (index, task) in self.0.iter().enumerate() {
            let mut envelope = Envelope::new(task.sent_id());
            envelope.group = Some((id.clone(), i64::try_from(index).unwrap_or(i64::MAX)));
            results.push(task.dispatch(envelope).await?);
        }
        Ok(GroupResult { id, results })
    }
}

/// The results of a group.
#[derive(Debug)]
pub struct GroupResult<T> {
    id: String,
    results: Vec<AsyncResult<T>>,
}

impl<T: DeserializeOwned> GroupResult<T> {
    /// Returns the group's id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns the results of its tasks, in their order.
    #[must_use]
    pub fn results(&self) -> &[AsyncResult<T>] {
        &self.results
    }

    /// Waits for all results, and returns them in the order of the tasks.
    ///
    /// # Errors
    /// The first task, in their order, without a result.
    ///
    /// # Cancel safety
    /// It can be called again.
    pub async fn get(&self, deadline: Duration) -> Result<Vec<T>, TaskError> {
        let until = Instant::now() + deadline;
        let mut results = Vec::with_capacity(self.results.len());
        for result in &self.results {
            results.push(result.get(until.saturating_duration_since(Instant::now())).await?);
        }
        Ok(results)
    }
}
