//! The result of a task that was sent.

use std::{fmt, marker::PhantomData, time::Duration};

use serde::de::DeserializeOwned;
use tokio::time::timeout;

use crate::{
    celery::{
        remote::client::Revoke,
        tasks::{
            app::Celery,
            results::Waiting,
            state::{TaskError, TaskFailure, TaskState},
        },
    },
    error::Error,
};

/// The result of a task that was sent, of type `T`.
///
/// # On drop
/// The result is forgotten; one that comes later is dropped.
pub struct AsyncResult<T> {
    app: Celery,
    id: String,
    /// `None` when nobody stores the result, or it is not received here.
    waiting: Option<Waiting>,
    kind: PhantomData<fn() -> T>,
}

impl<T> AsyncResult<T> {
    pub(super) fn new(app: Celery, id: String, waiting: Option<Waiting>) -> Self {
        AsyncResult { app, id, waiting, kind: PhantomData }
    }

    /// Returns the task's id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns the last state that was heard of.
    #[must_use]
    pub fn state(&self) -> TaskState {
        self.waiting.as_ref().map_or(TaskState::Pending, Waiting::state)
    }

    /// Tells all workers not to run the task, if it has not begun. Workers forget that when they
    /// end.
    ///
    /// # Errors
    /// When there is no connection.
    pub async fn revoke(&self) -> Result<(), Error> {
        self.app.controls().revoke(&[&self.id], &Revoke::new()).cast().await
    }
}

impl<T: DeserializeOwned> AsyncResult<T> {
    /// Waits for the result.
    ///
    /// # Errors
    /// See [`TaskError`].
    ///
    /// # Cancel safety
    /// It can be called again, also after the result has come.
    pub async fn get(&self, deadline: Duration) -> Result<T, TaskError> {
        let id = || self.id.clone();
        let Some(waiting) = &self.waiting else { return Err(TaskError::Ignored { id: id() }) };
        let Ok(ended) = timeout(deadline, waiting.ended()).await else {
            return Err(TaskError::Timeout { id: id(), after: deadline, state: waiting.state() });
        };
        let stored = ended.ok_or(TaskError::Closed)?;
        let failure = || TaskFailure::read(&stored.result, stored.traceback.clone());
        match stored.status {
            TaskState::Failure => Err(TaskError::Failed { id: id(), failure: failure() }),
            TaskState::Revoked => Err(TaskError::Revoked { id: id(), failure: failure() }),
            _ => T::deserialize(&stored.result).map_err(|source| TaskError::Type { id: id(), source }),
        }
    }
}

impl<T> fmt::Debug for AsyncResult<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncResult")
            .field("id", &self.id)
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}
