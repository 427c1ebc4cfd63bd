//! The state that all messages of a worker share.

use std::{
    collections::HashMap,
    time::{Duration, SystemTime},
};

use crate::{
    celery::{
        remote::event::TaskEvent,
        tasks::{app::Celery, message::after},
        worker::{
            builder::Settings,
            events::Events,
            in_hand::InHand,
            slots::Slots,
            store::Store,
            task::{call::Call, definition::Task},
        },
    },
    serialize::Serializers,
    sync::{Mutex, watch},
};

/// The state that all messages of a worker share.
pub(super) struct Runner {
    pub(super) app: Celery,
    pub(super) name: String,
    pub(super) tasks: HashMap<String, Task>,
    pub(super) settings: Settings,
    pub(super) in_hand: InHand,
    pub(super) slots: Slots,
    pub(super) store: Store,
    /// The events; `None` before the node is there, and after it.
    pub(super) events: Mutex<Option<Events>>,
    pub(super) serializers: Serializers,
    pub(super) stopping: watch::Sender<bool>,
}

/// The settlement of a task's message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Settle {
    Ack,
    Reject { requeue: bool },
}

impl Runner {
    /// Tells whether the task is not to run any more.
    pub(super) fn is_over(&self, call: &Call) -> bool {
        call.has_expired() || self.in_hand.is_revoked(&call.id)
    }

    /// Emits an event, if events are wanted.
    pub(super) fn emit(&self, event: impl FnOnce() -> TaskEvent) {
        let events = self.events.lock().clone();
        if let Some(events) = events {
            events.emit(event);
        }
    }

    /// Makes the tasks that wait go back to their queues.
    pub(super) fn stop_waiting(&self) {
        self.stopping.send_replace(true);
    }
}

/// The time after this pause, unless that is now.
pub(super) fn later(countdown: Duration) -> Option<SystemTime> {
    (!countdown.is_zero()).then(|| after(countdown))
}
