//! The consequences of a task's end: its state is stored, events tell of it, and other tasks are
//! sent.

use std::time::Duration;

use serde_json::{Value, json};

use crate::celery::{
    remote::event::TaskEvent,
    tasks::{
        repr,
        state::{TaskFailure, TaskState},
    },
    worker::{
        follow::{self, FollowError, Heritage},
        runner::{Runner, Settle, later},
        store::{Meta, Of},
        task::call::Call,
        task::definition::Task,
        task::raise::{Raise, Raised, Retry},
        task::run::End,
    },
};

impl Runner {
    /// Does what follows on the end of a task; returns what becomes of its message.
    pub(super) async fn ended(
        &self,
        (task, call): (&Task, &Call),
        end: End,
        runtime: Duration,
        is_late: bool,
    ) -> Settle {
        match end {
            End::Ran(Ok(result)) => self.succeeded(task, call, result, runtime).await,
            End::Ran(Err(Raise(raised))) => match *raised {
                Raised::Failure(failure) => self.failed(task, call, &failure).await,
                Raised::Retry(retry) => return self.retried(task, call, retry, is_late).await,
                Raised::Reject { requeue } => {
                    self.emit(|| TaskEvent::rejected(&call.id, requeue));
                    return Settle::Reject { requeue };
                }
                Raised::Ignore => {}
            },
            End::Lost(why) => {
                let rejects = task.reject_on_worker_lost.unwrap_or(self.settings.reject_on_worker_lost);
                if is_late && rejects && !call.redelivered {
                    tracing::error!(task = call.name, id = call.id, why, "a task was lost; it is requeued");
                    self.emit(|| TaskEvent::rejected(&call.id, true));
                    return Settle::Reject { requeue: true };
                }
                let failure = TaskFailure::new("WorkerLostError", why).module("billiard.exceptions");
                self.failed(task, call, &failure).await;
            }
            End::TimedOut(limit) => {
                let seconds = match limit.subsec_nanos() {
                    0 => Value::from(limit.as_secs()),
                    _ => limit.as_secs_f64().into(),
                };
                let failure = TaskFailure::new("TimeLimitExceeded", seconds);
                self.failed(task, call, &failure.module("billiard.exceptions")).await;
            }
            End::Terminated => {
                tracing::info!(task = call.name, id = call.id, "a task was terminated");
                self.emit(|| TaskEvent::revoked(&call.id, true, false));
                self.revoked(task, call, "terminated").await;
            }
        }
        Settle::Ack
    }

    async fn succeeded(&self, task: &Task, call: &Call, result: Value, runtime: Duration) {
        let mut meta = Meta::new(TaskState::Success, result);
        if let Err(error) = self.follow(call, &meta.result, &mut meta.children).await {
            let failure = TaskFailure::new("OperationalError", error.to_string());
            return self.failed(task, call, &failure.module("kombu.exceptions")).await;
        }
        if !ignores(task, call) {
            self.store.store(of(call), &meta).await;
        }
        tracing::debug!(task = call.name, id = call.id, ?runtime, "a task succeeded");
        self.emit(|| TaskEvent::succeeded(&call.id, &repr::one(&meta.result), runtime));
    }

    /// Sends the tasks that follow on a result.
    async fn follow(&self, call: &Call, result: &Value, sent: &mut Vec<String>) -> Result<(), FollowError> {
        let heritage = Heritage { root: call.root_id(), parent: &call.id, leading: result };
        for callback in list(&call.followers.callbacks) {
            follow::send(&self.app, callback, Vec::new(), &heritage, sent).await?;
        }
        if let Some((next, rest)) = list(&call.followers.chain).split_last() {
            follow::send(&self.app, next, rest.to_vec(), &heritage, sent).await?;
        }
        Ok(())
    }

    async fn failed(&self, task: &Task, call: &Call, failure: &TaskFailure) {
        tracing::warn!(task = call.name, id = call.id, %failure, "a task failed");
        if !ignores(task, call) {
            self.store.store(of(call), &Meta::failed(TaskState::Failure, failure)).await;
        }
        self.emit(|| TaskEvent::failed(&call.id, &failure.shown(), &failure.trace()));
        self.fail_chain(call, failure).await;
        let id = Value::from(call.id.as_str());
        let heritage = Heritage { root: call.root_id(), parent: &call.id, leading: &id };
        for errback in list(&call.followers.errbacks) {
            let sent = follow::send(&self.app, errback, Vec::new(), &heritage, &mut Vec::new()).await;
            if let Err(error) = sent {
                tracing::error!(task = call.name, id = call.id, %error, "a task that follows on a failure cannot be sent");
            }
        }
    }

    /// Stores the failure for the tasks that would have followed in the chain: somebody waits for
    /// the last of them.
    async fn fail_chain(&self, call: &Call, failure: &TaskFailure) {
        let meta = Meta::failed(TaskState::Failure, failure);
        for next in list(&call.followers.chain) {
            let text = |name| follow::option(next, name).and_then(Value::as_str);
            if let Some(id) = text("task_id") {
                let of = Of { id, reply_to: text("reply_to"), group: text("group_id"), parent_id: None };
                self.store.store(of, &meta).await;
            }
        }
    }

    async fn retried(&self, task: &Task, call: &Call, retry: Retry, is_late: bool) -> Settle {
        let most = retry.max_retries.or(task.max_retries);
        let cause = retry.cause;
        if most.is_some_and(|most| call.retries >= most) {
            let exhausted = || {
                let text = format!("task {}[{}] was tried {} times", call.name, call.id, call.retries + 1);
                TaskFailure::new("MaxRetriesExceededError", text).module("celery.exceptions")
            };
            self.failed(task, call, &cause.unwrap_or_else(exhausted)).await;
            return Settle::Ack;
        }
        let countdown = retry.countdown.unwrap_or(task.retry_delay);
        let eta = retry.eta.or_else(|| later(countdown));
        if let Err(error) = self.app.publish(&call.again(eta)).await {
            let failure = TaskFailure::new("OperationalError", error.to_string()).module("kombu.exceptions");
            if is_late {
                tracing::error!(task = call.name, id = call.id, %failure, "a retry cannot be sent; the message is requeued");
                return Settle::Reject { requeue: true };
            }
            self.failed(task, call, &failure).await;
            return Settle::Ack;
        }
        let cause = cause.unwrap_or_else(|| {
            TaskFailure::new("Retry", "the task is to run again").module("celery.exceptions")
        });
        tracing::info!(task = call.name, id = call.id, %cause, ?countdown, "a task is retried");
        if !ignores(task, call) {
            self.store.store(of(call), &Meta::failed(TaskState::Retry, &cause)).await;
        }
        self.emit(|| TaskEvent::retried(&call.id, &cause.shown(), &cause.trace()));
        Settle::Ack
    }

    /// Stores that the task runs.
    pub(super) async fn started(&self, task: &Task, call: &Call) {
        if !ignores(task, call) {
            let result = json!({"pid": std::process::id(), "hostname": self.name});
            self.store.store(of(call), &Meta::new(TaskState::Started, result)).await;
        }
    }

    /// Stores that the task was revoked.
    pub(super) async fn revoked(&self, task: &Task, call: &Call, why: &str) {
        let failure = TaskFailure::new("TaskRevokedError", why).module("celery.exceptions");
        if !ignores(task, call) {
            self.store.store(of(call), &Meta::failed(TaskState::Revoked, &failure)).await;
        }
        self.fail_chain(call, &failure).await;
    }

    /// Stores why a task did not run.
    pub(super) async fn not_run(&self, call: &Call, failure: &TaskFailure) {
        if !call.ignores_result {
            self.store.store(of(call), &Meta::failed(TaskState::Failure, failure)).await;
        }
        self.fail_chain(call, failure).await;
    }
}

fn ignores(task: &Task, call: &Call) -> bool {
    task.ignore_result || call.ignores_result
}

fn of(call: &Call) -> Of<'_> {
    Of {
        id: &call.id,
        reply_to: call.reply_to.as_deref(),
        group: call.group.as_deref(),
        parent_id: call.parent_id.as_deref(),
    }
}

/// The signatures of a list, of which there is none in null.
fn list(signatures: &Value) -> &[Value] {
    signatures.as_array().map_or(&[], Vec::as_slice)
}
