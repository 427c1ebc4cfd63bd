//! The way of a message: it waits for its time and for a place, runs, and is settled.

use std::{sync::Arc, time::SystemTime};

use amqp_client::{Delivery, Received, Report};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{
    celery::{
        remote::event::TaskEvent,
        tasks::{message::iso_time, state::TaskFailure},
        worker::{
            builder::Unhandled,
            in_hand::{Held, Stage},
            runner::{Runner, Settle},
            task::{
                call::{Call, NoCall},
                context::{SoftLimit, TaskContext},
                definition::Task,
                run::{Limits, run},
            },
        },
    },
    consume::{
        handlers::permits::Permit,
        settle::{acker::Acker, settling::Settling, stuck::Patience},
    },
    error::Malformed,
};

impl Runner {
    /// Handles a message from a queue. A message that is not settled goes back to it.
    pub(super) async fn handle(
        self: Arc<Self>,
        source: Arc<Settling>,
        delivery: Delivery,
        mut permit: Permit,
    ) -> Permit {
        let (received, acker) = delivery.split();
        let acker = Acker::new(acker, source.observed.process(&received));
        match Call::read(&received, &source.queue, &self.serializers) {
            Ok(call) => match self.tasks.get(&call.name) {
                Some(_) if !call.followers.chord.is_null() => {
                    let why = "this worker cannot count the tasks of a chord";
                    let failure = TaskFailure::new("NotImplementedError", why).module("builtins");
                    self.not_begun(&call, &failure, &received, acker, &source, &mut permit).await;
                }
                Some(task) => {
                    let size = received.body().len();
                    drop(received);
                    let call = Arc::new(call);
                    Box::pin(self.take((task, &call), size, acker, &source, &mut permit)).await;
                }
                None => {
                    let failure = TaskFailure::new("NotRegistered", call.name.clone());
                    let failure = failure.module("celery.exceptions");
                    self.not_begun(&call, &failure, &received, acker, &source, &mut permit).await;
                }
            },
            Err(no_call) => self.refuse(no_call, &received, acker, &source, &mut permit).await,
        }
        permit
    }

    /// Waits for the task's time, and for a place.
    async fn take(
        &self,
        (task, call): (&Task, &Arc<Call>),
        size: usize,
        acker: Acker,
        source: &Settling,
        permit: &mut Permit,
    ) {
        let terminate = CancellationToken::new();
        let held = self.in_hand.take(call, terminate.clone());
        if self.is_over(call) {
            return self.discard(task, call, acker, source).await;
        }
        self.emit(|| received(call));
        if let Some(wait) = call.eta.and_then(|eta| eta.duration_since(SystemTime::now()).ok()) {
            held.is_now(Stage::Scheduled);
            // Meanwhile it does not count towards the prefetch.
            if !permit.hold(size, true, wait).await {
                return;
            }
            held.is_now(Stage::Reserved);
        }
        let mut stopping = self.stopping.subscribe();
        let place = tokio::select! {
            biased;
            _ = stopping.wait_for(|stop| *stop) => return,
            place = self.slots.take() => place,
        };
        // The broker has given a message whose channel has ended to somebody else.
        if acker.is_stale() {
            return;
        }
        if self.is_over(call) {
            return self.discard(task, call, acker, source).await;
        }
        self.run((task, call), acker, source, &held, terminate).await;
        drop(place);
    }

    /// Runs the task, and settles its message.
    async fn run(
        &self,
        (task, call): (&Task, &Arc<Call>),
        acker: Acker,
        source: &Settling,
        held: &Held<'_>,
        terminate: CancellationToken,
    ) {
        let is_late = task.acks_late.unwrap_or(self.settings.acks_late);
        let mut acker = Some(acker);
        if !is_late && let Some(acker) = acker.take() {
            source.done(acker);
            held.is_acknowledged();
        }
        held.is_now(Stage::Active);
        self.emit(|| TaskEvent::started(&call.id));
        if task.track_started.unwrap_or(self.settings.track_started) {
            self.started(task, call).await;
        }
        let limit =
            |nth: usize| call.time_limits[nth].or(task.time_limits[nth]).or(self.settings.time_limits[nth]);
        let limits = Limits { hard: limit(0), soft: limit(1), token: SoftLimit::default(), terminate };
        let context = TaskContext::new(call.clone(), &self.app, limits.token.clone());
        let begun = Instant::now();
        let (end, rest) = run(&task.code, context, call.arguments.clone(), &limits).await;
        let settle = self.ended((task, call), end, begun.elapsed(), is_late).await;
        held.has_ended();
        if let Some(acker) = acker {
            self.settle(acker, settle, source).await;
        }
        rest.ended().await;
    }

    async fn settle(&self, acker: Acker, settle: Settle, source: &Settling) {
        match settle {
            Settle::Ack => source.done(acker),
            Settle::Reject { requeue } => {
                acker.operation().end_as(Some("rejected"));
                if let Err(error) = acker.reject(requeue).await {
                    tracing::debug!(queue = source.queue, error = %Report(&error), "a task's message could not be rejected; the broker delivers it again");
                }
            }
        }
    }

    /// Revokes a task.
    async fn discard(&self, task: &Task, call: &Call, acker: Acker, source: &Settling) {
        let has_expired = call.has_expired();
        let why = if has_expired { "expired" } else { "revoked" };
        tracing::info!(task = call.name, id = call.id, why, "a task is not run");
        self.emit(|| TaskEvent::revoked(&call.id, false, has_expired));
        self.revoked(task, call, why).await;
        source.done(acker);
    }

    /// Refuses a task that this worker cannot run.
    async fn not_begun(
        &self,
        call: &Call,
        failure: &TaskFailure,
        received: &Received,
        acker: Acker,
        source: &Settling,
        permit: &mut Permit,
    ) {
        self.emit(|| TaskEvent::failed(&call.id, &failure.shown(), ""));
        self.not_run(call, failure).await;
        tracing::error!(queue = source.queue, task = call.name, id = call.id, %failure, "a task cannot run here");
        match self.settings.unknown {
            Unhandled::SetAside => set_aside(received, acker, source, &failure.to_string(), permit).await,
            Unhandled::Default => self.settle(acker, Settle::Reject { requeue: false }, source).await,
        }
    }

    /// Refuses what is no call of a task.
    async fn refuse(
        &self,
        no_call: NoCall,
        received: &Received,
        acker: Acker,
        source: &Settling,
        permit: &mut Permit,
    ) {
        let (settle, why) = match no_call {
            NoCall::Undecodable(reason @ Malformed::Withheld { .. }) => {
                (Settle::Reject { requeue: false }, Report(&reason).to_string())
            }
            NoCall::Undecodable(reason) => (Settle::Ack, Report(&reason).to_string()),
            NoCall::Invalid(reason) => (Settle::Reject { requeue: false }, reason),
        };
        tracing::error!(queue = source.queue, why, "a message is no call of a task");
        match self.settings.undecodable {
            Unhandled::SetAside => set_aside(received, acker, source, &why, permit).await,
            Unhandled::Default => self.settle(acker, settle, source).await,
        }
    }
}

fn received(call: &Call) -> TaskEvent {
    let [args, kwargs] = &call.shown;
    let iso = |time: Option<SystemTime>| time.map(iso_time);
    TaskEvent::received(&call.id, &call.name)
        .field("args", args.as_str())
        .field("kwargs", kwargs.as_str())
        .field("root_id", call.root_id())
        .field("parent_id", call.parent_id.clone())
        .field("retries", call.retries)
        .field("eta", iso(call.eta))
        .field("expires", iso(call.expires))
}

/// Moves a message to the queue of those that nobody could handle. One that cannot be moved is
/// kept, and tried again.
async fn set_aside(received: &Received, mut acker: Acker, source: &Settling, why: &str, permit: &mut Permit) {
    let mut patience = Patience::new(Instant::now());
    while let Err(stuck) = source.unreadable(Some(received), acker, why).await {
        let Some(again) = patience.keep(stuck, &source.queue, Some(received), permit).await else { return };
        acker = again;
    }
}
