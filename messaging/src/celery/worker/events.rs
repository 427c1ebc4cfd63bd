//! The events of a worker's tasks, which are sent in their order and together, so that no task
//! waits for them.

use serde_json::Value;
use tokio::sync::mpsc;

use crate::celery::remote::{emitter::EventEmitter, event::TaskEvent};

/// The most events that wait to be sent; later ones are dropped.
const MOST: usize = 10_000;
/// The most events of a message.
const TOGETHER: usize = 100;

/// Takes the events of tasks. Cloning gives another handle to it.
#[derive(Clone)]
pub(super) struct Events {
    emitter: EventEmitter,
    waiting: mpsc::Sender<Value>,
}

impl Events {
    /// Begins to send the events that it takes, until the last handle is dropped.
    pub(super) fn new(emitter: EventEmitter) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (waiting, mut events) = mpsc::channel(MOST);
        let sender = emitter.clone();
        let sending = async move {
            let mut together = Vec::new();
            while events.recv_many(&mut together, TOGETHER).await > 0 {
                sender.publish(std::mem::take(&mut together)).await;
            }
        };
        (Events { emitter, waiting }, sending)
    }

    /// Takes an event, if events are wanted.
    pub(super) fn emit(&self, event: impl FnOnce() -> TaskEvent) {
        if !self.emitter.is_wanted() {
            return;
        }
        if self.waiting.try_send(self.emitter.body(event())).is_err() {
            tracing::debug!("an event of a task is dropped, because too many wait to be sent");
        }
    }
}
