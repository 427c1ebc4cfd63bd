//! Ends of a task without a result.

use std::{
    any::type_name,
    error::Error,
    time::{Duration, SystemTime},
};

use serde_json::{Value, json};

use crate::celery::tasks::state::TaskFailure;

/// A value that a task returns in place of a result, as tasks of Celery raise an exception.
///
/// Every error becomes one, so that `?` works: it is stored as a failure under the name of its
/// type, with its text. The exception and the module that Python sees can be chosen with a
/// [`TaskFailure`].
#[derive(Clone, Debug)]
pub struct Raise(pub(crate) Box<Raised>);

#[derive(Clone, Debug)]
pub(crate) enum Raised {
    Failure(TaskFailure),
    Retry(Retry),
    Reject { requeue: bool },
    Ignore,
}

impl Raise {
    /// Returns the failure that is stored for an exception of this name and text.
    #[must_use]
    pub fn new(exception: impl Into<String>, text: impl Into<Value>) -> Self {
        TaskFailure::new(exception, text).into()
    }

    /// Rejects the task's message, if it is acknowledged late: it goes back to its queue, or it is
    /// dead-lettered or dropped. Nothing is stored.
    #[must_use]
    pub fn reject(requeue: bool) -> Self {
        Raise(Box::new(Raised::Reject { requeue }))
    }

    /// Ends the task without storing anything: it has stored a state itself, or nobody is to know.
    #[must_use]
    pub fn ignore() -> Self {
        Raise(Box::new(Raised::Ignore))
    }
}

impl<E: Error> From<E> for Raise {
    fn from(error: E) -> Self {
        let path = type_name::<E>();
        let path = path.split('<').next().unwrap_or(path);
        let (module, name) = path.rsplit_once("::").unwrap_or(("", path));
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        let name = if name.is_empty() { "Error" } else { name };
        TaskFailure::new(name, text).module(module.replace("::", ".")).into()
    }
}

impl From<TaskFailure> for Raise {
    fn from(failure: TaskFailure) -> Self {
        Raise(Box::new(Raised::Failure(failure)))
    }
}

impl From<Retry> for Raise {
    fn from(retry: Retry) -> Self {
        Raise(Box::new(Raised::Retry(retry)))
    }
}

/// Asks for another run of the task, later. [`TaskContext::retry`] makes it; the task returns it as
/// its error.
///
/// The task is sent again with the same id and arguments. After
/// [`max_retries`](crate::celery::Task::max_retries) it fails instead: with the
/// [cause](Self::because), or with `MaxRetriesExceededError`.
///
/// [`TaskContext::retry`]: crate::celery::TaskContext::retry
#[derive(Clone, Debug, Default)]
#[must_use = "a retry is returned as the task's error"]
pub struct Retry {
    pub(crate) countdown: Option<Duration>,
    pub(crate) eta: Option<SystemTime>,
    pub(crate) max_retries: Option<u32>,
    pub(crate) cause: Option<TaskFailure>,
}

impl Retry {
    /// Runs it again after this time. Default: the task's
    /// [`retry_delay`](crate::celery::Task::retry_delay).
    pub fn countdown(mut self, countdown: Duration) -> Self {
        (self.countdown, self.eta) = (Some(countdown), None);
        self
    }

    /// Runs it again at this time.
    pub fn eta(mut self, eta: SystemTime) -> Self {
        (self.eta, self.countdown) = (Some(eta), None);
        self
    }

    /// Sets how often the task may be tried again, for this run. Default: the task's.
    pub fn max_retries(mut self, retries: u32) -> Self {
        self.max_retries = Some(retries);
        self
    }

    /// Sets the failure that the task is retried for. It is the task's failure if it is not retried
    /// any more.
    pub fn because(mut self, cause: impl Into<Raise>) -> Self {
        if let Raised::Failure(failure) = *cause.into().0 {
            self.cause = Some(failure);
        }
        self
    }
}

impl TaskFailure {
    /// Returns the failure by an exception of this name with one argument, its text.
    #[must_use]
    pub fn new(exception: impl Into<String>, text: impl Into<Value>) -> Self {
        TaskFailure { exception: exception.into(), arguments: vec![text.into()], ..TaskFailure::default() }
    }

    /// Sets the module of the exception: Python raises that exception, for example with
    /// `builtins`, if the module is loaded there.
    #[must_use]
    pub fn module(mut self, module: impl Into<String>) -> Self {
        self.module = Some(module.into()).filter(|module| !module.is_empty());
        self
    }

    /// Returns what is stored as the result of the task.
    pub(crate) fn stored(&self) -> Value {
        json!({"exc_type": self.exception, "exc_message": self.arguments, "exc_module": self.module})
    }

    /// The text that shows it as Python does.
    pub(crate) fn shown(&self) -> String {
        let arguments: Vec<_> = self.arguments.iter().map(crate::celery::tasks::repr::one).collect();
        format!("{}({})", self.exception, arguments.join(", "))
    }

    /// The traceback, or what stands for one.
    pub(crate) fn trace(&self) -> String {
        self.traceback.clone().unwrap_or_else(|| format!("{self}\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_stored_under_the_name_of_its_type() {
        let error = "x".parse::<u8>().unwrap_err();
        let Raised::Failure(failure) = *Raise::from(error).0 else { panic!() };
        assert_eq!(failure.exception, "ParseIntError");
        assert!(failure.module.unwrap().starts_with("core.num"));
        assert_eq!(failure.arguments, ["invalid digit found in string"]);
        let failure =
            TaskFailure { module: None, ..TaskFailure::new("ParseIntError", failure.arguments[0].clone()) };
        assert_eq!(failure.shown(), "ParseIntError('invalid digit found in string')");
    }
}
