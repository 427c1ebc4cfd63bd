//! What became of a task.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The state of a task, as Celery names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
#[non_exhaustive]
pub enum TaskState {
    /// Nothing is known of it.
    Pending,
    /// A worker has it.
    Received,
    /// It runs; workers tell that if they have `track_started`.
    Started,
    /// It failed, and will be tried again.
    Retry,
    /// It failed.
    Failure,
    /// It succeeded.
    Success,
    /// It was revoked, and did not run.
    Revoked,
    /// A state that the task has set itself.
    Other(String),
}

impl TaskState {
    /// Returns Celery's name of it, for example `SUCCESS`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            TaskState::Pending => "PENDING",
            TaskState::Received => "RECEIVED",
            TaskState::Started => "STARTED",
            TaskState::Retry => "RETRY",
            TaskState::Failure => "FAILURE",
            TaskState::Success => "SUCCESS",
            TaskState::Revoked => "REVOKED",
            TaskState::Other(name) => name,
        }
    }

    /// Tells whether it changes no more.
    #[must_use]
    pub fn is_final(&self) -> bool {
        matches!(self, TaskState::Failure | TaskState::Success | TaskState::Revoked)
    }
}

impl From<String> for TaskState {
    fn from(name: String) -> Self {
        match name.as_str() {
            "PENDING" => TaskState::Pending,
            "RECEIVED" => TaskState::Received,
            "STARTED" => TaskState::Started,
            "RETRY" => TaskState::Retry,
            "FAILURE" => TaskState::Failure,
            "SUCCESS" => TaskState::Success,
            "REVOKED" => TaskState::Revoked,
            _ => TaskState::Other(name),
        }
    }
}

impl From<TaskState> for String {
    fn from(state: TaskState) -> Self {
        state.as_str().to_owned()
    }
}

impl fmt::Display for TaskState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a task failed with.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct TaskFailure {
    /// The name of the exception, for example `ValueError`.
    pub exception: String,
    /// The module of the exception, for example `builtins`.
    pub module: Option<String>,
    /// The arguments of the exception, of which the first is its text mostly.
    pub arguments: Vec<Value>,
    /// Where it was raised, in words.
    pub traceback: Option<String>,
}

impl TaskFailure {
    /// Reads what Celery stores as the result of a failed or revoked task.
    pub(super) fn read(result: &Value, traceback: Option<String>) -> Self {
        let text = |name: &str| result.get(name).and_then(Value::as_str).map(str::to_owned);
        let arguments = match result.get("exc_message") {
            Some(Value::Array(arguments)) => arguments.clone(),
            Some(Value::Null) | None => Vec::new(),
            Some(one) => vec![one.clone()],
        };
        let exception = text("exc_type").unwrap_or_else(|| "an unknown exception".to_owned());
        TaskFailure { exception, module: text("exc_module"), arguments, traceback }
    }
}

/// Shows it as Python does: `ValueError: it's no luck`.
impl fmt::Display for TaskFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.exception)?;
        for (nth, argument) in self.arguments.iter().enumerate() {
            f.write_str(if nth == 0 { ": " } else { ", " })?;
            match argument {
                Value::String(text) => f.write_str(text)?,
                other => write!(f, "{other}")?,
            }
        }
        Ok(())
    }
}

/// Why there is no result of a task.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TaskError {
    /// The task failed.
    #[error("task {id} failed: {failure}")]
    Failed {
        /// The task's id.
        id: String,
        /// What it failed with.
        failure: TaskFailure,
    },
    /// The task was revoked.
    #[error("task {id} was revoked: {failure}")]
    Revoked {
        /// The task's id.
        id: String,
        /// Why: `TaskRevokedError`, with the reason.
        failure: TaskFailure,
    },
    /// The result is not of the type that was asked for.
    #[error("the result of task {id} is of another type")]
    Type {
        /// The task's id.
        id: String,
        /// The cause.
        source: serde_json::Error,
    },
    /// The deadline passed. The result may still come.
    #[error("task {id} had no result after {after:?}; its state was {state}")]
    Timeout {
        /// The task's id.
        id: String,
        /// The time that was waited.
        after: Duration,
        /// The last state that was heard of.
        state: TaskState,
    },
    /// The task was sent with `ignore_result`, or by an application that receives no results.
    #[error("the result of task {id} is not received here")]
    Ignored {
        /// The task's id.
        id: String,
    },
    /// Results can no longer be received: the transport is closed.
    #[error("the results of tasks cannot be received any more")]
    Closed,
}
